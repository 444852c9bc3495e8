"""The works that the recipes of machine faults rest on, as BibTeX entries."""

WIDE_KERNEL = """@article{zhang2017new,
  author = {Zhang, Wei and Peng, Gaoliang and Li, Chuanhao and Chen, Yuanhang and Zhang, Zhujun},
  title = {A New Deep Learning Model for Fault Diagnosis with Good Anti-Noise and Domain Adaptation
           Ability on Raw Vibration Signals},
  journal = {Sensors},
  volume = {17},
  pages = {425},
  year = {2017}
}"""

CALIBRATION = """@inproceedings{guo2017calibration,
  author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  title = {On Calibration of Modern Neural Networks},
  booktitle = {International Conference on Machine Learning},
  year = {2017}
}"""

GRAD_NORM = """@inproceedings{chen2018gradnorm,
  author = {Chen, Zhao and Badrinarayanan, Vijay and Lee, Chen-Yu and Rabinovich, Andrew},
  title = {{GradNorm}: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
           Networks},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}"""

DISTILLATION = """@misc{hinton2015distilling,
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  title = {Distilling the Knowledge in a Neural Network},
  year = {2015},
  eprint = {1503.02531},
  archivePrefix = {arXiv}
}"""

MASKS = """@inproceedings{park2019specaugment,
  author = {Park, Daniel S. and Chan, William and Zhang, Yu and Chiu, Chung-Cheng and Zoph, Barret
            and Cubuk, Ekin D. and Le, Quoc V.},
  title = {{SpecAugment}: A Simple Data Augmentation Method for Automatic Speech Recognition},
  booktitle = {Interspeech},
  year = {2019}
}"""

ENVELOPE = """@article{randall2011rolling,
  author = {Randall, Robert B. and Antoni, J{\\'e}r{\\^o}me},
  title = {Rolling Element Bearing Diagnostics -- A Tutorial},
  journal = {Mechanical Systems and Signal Processing},
  volume = {25},
  number = {2},
  pages = {485--520},
  year = {2011}
}"""
