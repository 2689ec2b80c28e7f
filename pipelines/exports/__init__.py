"""Trained models in the formats of others: `transformers`, CTranslate2, plain PyTorch."""
