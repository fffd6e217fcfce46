"""Learning rules: what each computes, keeps and stores."""
