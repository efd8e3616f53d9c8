"""The privacy ledger: what mechanisms spend, the epsilon of that, and what voids a guarantee.

- accounting: the epsilon of a history of noisy steps, and the noise for an epsilon, by opacus
- ledger: what each client's mechanisms spent over the whole job, checkpoints included
- guarantee: the guarantee of a stack, or the reasons why there is none
"""
