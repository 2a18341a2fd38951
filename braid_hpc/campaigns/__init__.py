"""Campaigns: what a large production has made of its files, and what is to be made of them next."""

from __future__ import annotations

from braid_hpc.campaigns.campaign import Campaign

__all__ = ["Campaign"]
