"""The ledger: what mechanisms spent of privacy, what it comes to, and what voids it.

- accounting: epsilon of a history of noisy steps, and the noise for an epsilon; opacus behind one door
- ledger: who spent what over the whole job, kept over rounds and interruptions
- guarantee: what a stack promises, or why it promises nothing
"""
