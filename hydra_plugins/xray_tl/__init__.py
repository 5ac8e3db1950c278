"""Launchers of sweeps and the sweeper of `until=decided`, on Hydra's plugin interface.

Hydra imports every module here at each start: heavy imports stand inside functions.
"""
