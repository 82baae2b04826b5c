"""The provider gcp: machines, networks and load balancers of a Google Cloud project."""
