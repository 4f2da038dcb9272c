"""ManiSkill tasks, scripted experts, collection and closed-loop evaluation."""
