"""Operations on one member as pure coroutines: each awaits requests and performs no I/O itself."""
