"""The works that the recipes of attractor networks rest on, as BibTeX entries."""

LOCAL_RULE = """@misc{badalotti2025dynamical,
  author = {Badalotti, Davide and Baldassi, Carlo and M{\\'e}zard, Marc and Scardecchia, Mattia and
            Zecchina, Riccardo},
  title = {Dynamical Learning in Deep Asymmetric Recurrent Neural Networks},
  year = {2025},
  eprint = {2509.05041},
  archivePrefix = {arXiv}
}"""

CONTRASTIVE = """@article{xie2003equivalence,
  author = {Xie, Xiaohui and Seung, H. Sebastian},
  title = {Equivalence of Backpropagation and Contrastive {Hebbian} Learning in a Layered Network},
  journal = {Neural Computation},
  volume = {15},
  number = {2},
  pages = {441--454},
  year = {2003}
}"""

#: of the pictures, which compare both
RULES = (LOCAL_RULE, CONTRASTIVE)
