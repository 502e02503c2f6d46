"""Legacy Authenticode timestamps: countersignatures on a route of their own."""
