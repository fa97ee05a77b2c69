"""The ledger of capacity on its way over all layers: news in, standing, verdicts and lead times out."""
