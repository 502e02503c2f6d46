"""Signs timestamps with a key in Azure Key Vault or Managed HSM."""
