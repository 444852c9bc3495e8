"""Populations: many members trained side by side by one trainer."""

from etude.population.results import MemberResult as MemberResult
from etude.population.spec import Member as Member, Population as Population
