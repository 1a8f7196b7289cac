"""Choosing a network: the catalogue with its facts, measured speed and memory, and advice from short trials.

::

    from cnnlab.advisor.catalogue import catalogue
    from cnnlab.advisor.search import advise

    for row in catalogue("res*", sort="parameters"):
        print(row.name, row.facts.parameters)
    *steps, advice = advise("photos/", minutes=10)
    print(advice.choices[0].command)
"""
