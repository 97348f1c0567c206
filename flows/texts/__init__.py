"""The texts of VimbisoPay, one language in each module."""
