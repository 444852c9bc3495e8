"""The works that the recipes of Born machines rest on, as BibTeX entries."""

MACHINE = """@inproceedings{stoudenmire2016supervised,
  author = {Stoudenmire, E. Miles and Schwab, David J.},
  title = {Supervised Learning with Tensor Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {29},
  year = {2016}
}"""

SWEEP = """@article{han2018unsupervised,
  author = {Han, Zhao-Yu and Wang, Jun and Fan, Heng and Wang, Lei and Zhang, Pan},
  title = {Unsupervised Generative Modeling Using Matrix Product States},
  journal = {Physical Review X},
  volume = {8},
  pages = {031012},
  year = {2018}
}"""

GAME = """@misc{mossi2024matrix,
  author = {Mossi, Alex and {\\v Z}unkovic, Bojan and Flouris, Kyriakos},
  title = {A Matrix Product State Model for Simultaneous Classification and Generation},
  year = {2024},
  eprint = {2406.17441},
  archivePrefix = {arXiv}
}"""

PGD = """@inproceedings{madry2018towards,
  author = {Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris
            and Vladu, Adrian},
  title = {Towards Deep Learning Models Resistant to Adversarial Attacks},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}"""

TRADES = """@inproceedings{zhang2019theoretically,
  author = {Zhang, Hongyang and Yu, Yaodong and Jiao, Jiantao and Xing, Eric P. and
            El Ghaoui, Laurent and Jordan, Michael I.},
  title = {Theoretically Principled Trade-off between Robustness and Accuracy},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}"""
