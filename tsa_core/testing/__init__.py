"""What tests need: certificate chains on the spot, and tokens with any fault that one likes."""
