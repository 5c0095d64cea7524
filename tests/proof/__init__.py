"""Proofs, by z3, that the arithmetic of addresses neither wraps nor loses a byte.

A model is a function of the product, written again on bit-vectors of 64 bits. A lemma is what holds of models,
whatever the numbers are: z3 looks for some for which it does not hold, and there are none. z3 knows the models alone;
so each is compared with the function that it is of, on vectors that the model makes.

The modules of subjects have models, then lemmas about them.
"""
