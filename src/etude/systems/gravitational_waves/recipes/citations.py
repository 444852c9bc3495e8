"""The works that the recipes of gravitational waves rest on, as BibTeX entries."""

WAVEFORM = """@article{khan2016frequency,
  author = {Khan, Sebastian and Husa, Sascha and Hannam, Mark and Ohme, Frank and
            P{\\"u}rrer, Michael and Jim{\\'e}nez Forteza, Xisco and Boh{\\'e}, Alejandro},
  title = {Frequency-domain gravitational waves from nonprecessing black-hole binaries. {II}. {A}
           phenomenological model for the advanced detector era},
  journal = {Physical Review D},
  volume = {93},
  pages = {044007},
  year = {2016}
}"""

CPC = """@misc{oord2018representation,
  author = {van den Oord, A{\\"a}ron and Li, Yazhe and Vinyals, Oriol},
  title = {Representation Learning with Contrastive Predictive Coding},
  year = {2018},
  eprint = {1807.03748},
  archivePrefix = {arXiv}
}"""

SURVEY = """@misc{schafer2022mlgwsc,
  author = {Sch{\\"a}fer, Marlin B. and Zelenka, Ond{\\v r}ej and Nitz, Alexander H. and others},
  title = {{MLGWSC-1}: The first Machine Learning Gravitational-Wave Search Mock Data Challenge},
  year = {2022},
  eprint = {2209.11146},
  archivePrefix = {arXiv}
}"""

MATCHED_FILTER = """@article{allen2012findchirp,
  author = {Allen, Bruce and Anderson, Warren G. and Brady, Patrick R. and Brown, Duncan A. and
            Creighton, Jolien D. E.},
  title = {{FINDCHIRP}: An algorithm for detection of gravitational waves from inspiraling compact
           binaries},
  journal = {Physical Review D},
  volume = {85},
  pages = {122006},
  year = {2012}
}"""

OPEN_DATA = """@article{abbott2021open,
  author = {Abbott, R. and others},
  title = {Open data from the first and second observing runs of {Advanced} {LIGO} and {Advanced}
           {Virgo}},
  journal = {SoftwareX},
  volume = {13},
  pages = {100658},
  year = {2021}
}"""

#: of every recipe
ALL = (CPC, WAVEFORM)

#: of what is trained on, and of what `etude detect` fetches
SIMULATED = "None: signals and noise are simulated."
WITH_EVENT = f"{SIMULATED} GW150914, which `etude detect` fetches, is CC BY 4.0 (GWOSC)."

#: of ROC-AUC and of what is found at a rate of false alarms
CEILING = (
    "Below 1: noise hides weak signals, and no detector finds more than the likelihood ratio does; "
    "it is not computed here."
)
