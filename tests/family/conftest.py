"""Data of families, which is that of studies."""

from tests.study.conftest import digits as digits
