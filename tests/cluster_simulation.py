"""A discrete-event simulation of a cluster whose jobs wait to be admitted: the real policy, and what it is compared with.

The workload has the distribution of a published trace: Alibaba's ``openb`` (github.com/alibaba/clusterdata,
cluster-trace-gpu-v2023; Weng et al., "Beware of Fragmentation", USENIX ATC 2023), 8,152 pods on 1,523 nodes of a production
cluster. From its files are:

* the machines: the six most frequent shapes of ``openb_node_list_gpu_node.csv``, in proportion;
* what a job asks for: the most frequent shapes of ``openb_pod_list_default.csv``, and the 2-, 4- and 8-GPU pods as often
  as in ``openb_pod_list_multigpu50.csv`` (the authors' variant with more of them); a share of a GPU counts as a whole one;
* how long it runs: 5 %-quantiles of deletion less scheduling time, and further ones up to 99 %. The last per cent is left
  out: these are services that ran for as long as the trace did.

From elsewhere: 5 % of the users submit 77 % of the jobs (Weng et al., "MLaaS in the Wild", NSDI 2022, on the same company's
clusters); a job's time limit is its run time times a factor that is uniform in 1 to 5 (the f-model of Mu'alem and Feitelson,
2001). Arrivals are a Poisson process. Priorities are ours: 10 % of the jobs an hour ahead, 20 % an hour behind.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from statistics import fmean, quantiles
from time import process_time

from learnloop.capacity.amounts import Amounts, Node, total_of
from learnloop.capacity.deciding import HALF_LIFE
from learnloop.capacity.policy import Held, Rules, Verdict, Waiting, decide

MIB = 2**20
MACHINES = (  # (thousandths of a core, MiB, GPUs), how many
    ((96000, 393216, 8), 549),
    ((104000, 524288, 2), 387),
    ((16000, 122880, 2), 107),
    ((128000, 786432, 8), 39),
    ((32000, 131072, 4), 28),
    ((64000, 262144, 2), 22),
)
JOBS = (
    ((3152, 5600, 1), 1592),
    ((11300, 49152, 1), 857),
    ((11908, 47104, 1), 778),
    ((11400, 48128, 1), 534),
    ((8000, 30517, 1), 486),
    ((12500, 57344, 0), 364),
    ((32000, 49152, 0), 284),
    ((18708, 64512, 1), 255),
    ((9810, 41560, 1), 195),
    ((4000, 22888, 1), 189),
    ((4000, 15258, 1), 182),
    ((8000, 30517, 0), 163),
    ((16200, 66560, 2), 222),
    ((32200, 132096, 4), 206),
    ((88000, 327680, 8), 556),
)
SECONDS = (
    *((number / 20, value) for number, value in enumerate((
        4, 50, 73, 112, 146, 175, 210, 267, 356, 492, 616, 810, 1001, 1255, 1674, 2246, 3204, 4328, 7764, 18162
    ))),
    (0.96, 21848), (0.97, 27787), (0.98, 50089), (0.99, 114715),
)  # fmt: skip
PRIORITIES = ((60, 0.1), (0, 0.7), (-60, 0.2))
HEAVY_USERS, LIGHT_USERS, HEAVY_SHARE = 5, 95, 0.77

Decide = Callable[[float, list[Node], list[Held], list[Waiting], dict[str, list[float]]], list[Verdict]]


@dataclass(frozen=True)
class Job:
    waiting: Waiting
    runs: float


@dataclass
class Outcome:
    """``waited``: seconds by job; ``used``: of the GPUs' time until the last job came; ``deciding``: seconds by decision."""

    waited: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    used: float = 0.0
    ended: float = 0.0
    deciding: list[float] = field(default_factory=list)

    def waits(self, which: Callable[[Waiting], bool] = lambda job: True) -> list[float]:
        return [waited for key, waited in self.waited.items() if which(self.jobs[key].waiting)]

    def slowdown(self) -> float:
        """Mean bounded slowdown: waiting and running over running, of at least ten seconds (Feitelson et al., 1997)."""
        return fmean(
            max(1.0, (waited + self.jobs[key].runs) / max(10.0, self.jobs[key].runs))
            for key, waited in self.waited.items()
        )


def cluster(count: int) -> list[Node]:
    """``count`` nodes in the trace's proportions."""
    of = sum(number for _, number in MACHINES)
    nodes: list[Node] = []
    for number, ((cpu, memory, gpu), share) in enumerate(MACHINES):
        total = Amounts(cpu, memory * MIB, gpu)
        many = count - len(nodes) if number == len(MACHINES) - 1 else round(count * share / of)
        nodes += [Node(f"n{number}-{each:04}", total, total) for each in range(many)]
    return nodes


def workload(count: int, nodes: list[Node], load: float, seed: int) -> list[Job]:
    """``count`` jobs that come at such a rate that they need ``load`` of all GPUs."""
    random = Random(seed)
    shapes = random.choices([shape for shape, _ in JOBS], [weight for _, weight in JOBS], k=count)
    runs = [_run_time(random) for _ in range(count)]
    gpu_seconds = sum(shape[2] * seconds for shape, seconds in zip(shapes, runs, strict=True))
    rate = count / (gpu_seconds / (load * sum(node.total.gpu for node in nodes)))
    jobs, at = [], 0.0
    for number, ((cpu, memory, gpu), seconds) in enumerate(zip(shapes, runs, strict=True)):
        at += random.expovariate(rate)
        heavy = random.random() < HEAVY_SHARE
        user = f"heavy-{random.randrange(HEAVY_USERS)}" if heavy else f"light-{random.randrange(LIGHT_USERS)}"
        (priority,) = random.choices([one for one, _ in PRIORITIES], [share for _, share in PRIORITIES])
        limit = seconds * random.uniform(1, 5)
        jobs.append(Job(Waiting(f"j{number:05}", user, Amounts(cpu, memory * MIB, gpu), limit, at, priority), seconds))
    return jobs


def _run_time(random: Random) -> float:
    place = random.uniform(0, SECONDS[-1][0])
    above = bisect(SECONDS, (place, 0.0))
    (low, shorter), (high, longer) = SECONDS[above - 1], SECONDS[above]
    return shorter + (longer - shorter) * (place - low) / (high - low)


def simulate(jobs: list[Job], nodes: list[Node], policy: Decide, every: float = 30.0) -> Outcome:
    """Run all ``jobs``. A decision is made every ``every`` seconds at most, and when something has changed since."""
    outcome = Outcome(jobs={job.waiting.key: job for job in jobs})
    coming = sorted(jobs, key=lambda job: job.waiting.since, reverse=True)
    window = coming[0].waiting.since
    waiting: dict[str, Waiting] = {}
    held: dict[str, Held] = {}
    ends: list[tuple[float, str, float]] = []
    past = _Past()
    now = 0.0
    while coming or waiting or held:
        moments = [coming[-1].waiting.since] if coming else []
        now = max(min([*moments, *(end for end, _, _ in ends[:1])]), now)
        now = -(-now // every) * every  # the next decision
        while ends and ends[0][0] <= now:
            end, key, begun = heappop(ends)
            past.add(held.pop(key), begun, end)
        while coming and coming[-1].waiting.since <= now:
            job = coming.pop().waiting
            waiting[job.key] = job
        began = process_time()
        verdicts = policy(now, nodes, list(held.values()), list(waiting.values()), past.at(now))
        outcome.deciding.append(process_time() - began)
        for verdict in verdicts:
            if verdict.place == 0:
                job = waiting.pop(verdict.key)
                runs = outcome.jobs[job.key].runs
                outcome.waited[job.key] = now - job.since
                held[job.key] = Held(job.key, job.user, job.amounts, now + job.seconds, verdict.node)
                heappush(ends, (now + runs, job.key, now))
                outcome.used += job.amounts.gpu * max(0.0, min(now + runs, window) - now)
        assert _within(nodes, held)
        outcome.ended = now
        assert ends or not waiting or coming, "somebody waits for ever"
    outcome.used /= window * sum(node.total.gpu for node in nodes)
    return outcome


def _within(nodes: list[Node], held: dict[str, Held]) -> bool:
    """Whether no node has more to do than it can."""
    on: defaultdict[str | None, list[Amounts]] = defaultdict(list)
    for job in held.values():
        on[job.node].append(job.amounts)
    return all(total_of(on[node.name]).fits(node.total) for node in nodes)


class _Past:
    """What each user held, as `learnloop.capacity.deciding` averages it from the rows."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self._at = 0.0

    def at(self, now: float) -> dict[str, list[float]]:
        fades = 2 ** (-(now - self._at) / HALF_LIFE.total_seconds())
        self._at = now
        for sums in self._sums.values():
            sums[:] = [value * fades for value in sums]
        return {user: list(sums) for user, sums in self._sums.items()}

    def add(self, job: Held, begun: float, end: float) -> None:
        half = HALF_LIFE.total_seconds()
        weight = 2 ** (-(self._at - end) / half) - 2 ** (-(self._at - begun) / half)
        sums = self._sums[job.user]
        for number, value in enumerate(job.amounts):
            sums[number] += value * weight


def ours(rules: Rules | None = None) -> Decide:
    """The policy itself."""
    return lambda now, nodes, held, waiting, past: decide(now, nodes, held, waiting, rules, past)


BACKFILL = ours(Rules(ageing_seconds=0, share_seconds=0))
"""First come, first served with conservative backfill: the same code without priorities and shares."""


def fifo(
    now: float, nodes: list[Node], held: list[Held], waiting: list[Waiting], past: dict[str, list[float]]
) -> list[Verdict]:
    """First come, first served: who is next and does not fit keeps all others waiting."""
    return _in_turn(nodes, held, waiting, pass_over=False)


def first_fit(
    now: float, nodes: list[Node], held: list[Held], waiting: list[Waiting], past: dict[str, list[float]]
) -> list[Verdict]:
    """Whatever fits, oldest first: about what a cluster does with pods of one priority and no admission."""
    return _in_turn(nodes, held, waiting, pass_over=True)


def _in_turn(nodes: list[Node], held: list[Held], waiting: list[Waiting], *, pass_over: bool) -> list[Verdict]:
    on: defaultdict[str | None, list[Amounts]] = defaultdict(list)
    for job in held:
        on[job.node].append(job.amounts)
    free = {node.name: node.free.less(total_of(on[node.name])) for node in nodes}
    found, unfitting = [], set()
    for job in sorted(waiting, key=lambda one: (one.since, one.key)):
        if job.amounts in unfitting:
            continue
        fitting = [(free[name].less(job.amounts)[::-1], name) for name in free if job.amounts.fits(free[name])]
        if fitting:
            _, name = min(fitting)
            free[name] = free[name].less(job.amounts)
            found.append(Verdict(job.key, 0, "", name))
        elif pass_over:
            unfitting.add(job.amounts)
        else:
            break
    return found


def percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]
