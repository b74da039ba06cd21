"""Retraining: a new last layer for a classifier, from folders of photos, without TensorFlow or PyTorch.

>>> from aicli import evaluate, train
>>> trained = train("photos/", "birds.tflite")
>>> evaluate("birds.tflite", "test-photos/").accuracy
"""
