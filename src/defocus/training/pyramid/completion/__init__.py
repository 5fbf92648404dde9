"""The completion of the pyramid method: its scenes, its network and how it is trained."""
