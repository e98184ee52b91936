"""`tleg-tui`: the workbench in the terminal. It sees learngenes through their headers and trainings through their runs."""
