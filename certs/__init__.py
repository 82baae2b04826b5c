"""khw.certs: who trusts whom. Pure: no SSH, no cloud."""
