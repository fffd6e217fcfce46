"""What every kernel runs under: the cache on disk, threads, scratch memory."""
