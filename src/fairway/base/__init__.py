"""What every floor uses: errors by what the caller must do, addresses. Standard library only, no I/O."""
