"""The Broker's machine: slots, the attempts in them, and what its loop does about it."""
