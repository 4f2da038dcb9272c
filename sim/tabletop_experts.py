"""Experts of ManiSkill tasks."""

TABLETOP_EXPERTS = {}
