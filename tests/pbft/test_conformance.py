"""PBFT behind the engine contract, at every n whose quorums differ in kind."""

from tests.consensus.conformance import EngineConformance
from tests.pbft.cluster import Cluster


class TestPbftOfFour(EngineConformance):
    survives = 1

    def make(self, seed: int = 0) -> Cluster:
        return Cluster(4, seed)


class TestPbftOfFive(EngineConformance):
    survives = 1

    def make(self, seed: int = 0) -> Cluster:
        return Cluster(5, seed)


class TestPbftOfSix(EngineConformance):
    survives = 1

    def make(self, seed: int = 0) -> Cluster:
        return Cluster(6, seed)


class TestPbftOfSeven(EngineConformance):
    survives = 2

    def make(self, seed: int = 0) -> Cluster:
        return Cluster(7, seed)
