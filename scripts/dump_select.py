#!/usr/bin/python3
"""Fixture of tests/parity/test_select.c: every objective by every optimiser as a plain loop
in Python over apricot's definitions (docs/methods/select.md), on vectors both sides make by
formula: ties, zero gains, negative entries, duplicates. One case per line group:
    objective similarity optimiser kind n dim distinct count
    picks
    gains
Nothing here is clever: gains of every candidate are formed anew at each step."""
import math
import os

SEED = 11
ROUGH = False  # similarities are rounded to float: ties that are none of copies do not count
PHI = {"feature_sqrt": math.sqrt, "feature_log1p": math.log1p, "feature_sigmoid": lambda x: x / (1 + x)}


# Random123's Philox4x32-10, keyed as src/base/rng.c lays it out.
def draw_below(epoch, row, draw, bound):
    purpose = 11  # RNG_SELECT
    c = [row & 0xffffffff, draw & 0xffffffff, epoch, purpose << 24 | (row >> 32) << 12 | draw >> 32]
    k = [SEED & 0xffffffff, SEED >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xffffffff, (a >> 32) ^ c[3] ^ k[1], a & 0xffffffff]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return ((c[0] << 32 | c[1]) * bound) >> 64


def vector(kind, i, dim, distinct):
    i %= distinct
    if kind == "signed":
        return [((i * 7 + d * 13 + i * d * 3) % 23 - 6) / 16 for d in range(dim)]
    if kind == "positive":  # zeros among them
        return [max(0, (i * 7 + d * 13 + i * d * 3) % 23 - 6) / 16 for d in range(dim)]
    if kind == "smooth":    # no structure, no ties
        return [((i * i * 7919 + d * d * 104729 + i * d * 31) % 1009 - 300) / 256 for d in range(dim)]
    if kind == "positive_smooth":
        return [((i * i * 7919 + d * d * 104729 + i * d * 31) % 1009) / 256 for d in range(dim)]
    if kind == "zero":      # nothing to gain
        return [0.0] * dim
    if kind == "matrix":    # symmetric, negative off the diagonal
        return [((i * j * 5 + i + j) % 19 - 4) / 16 + (i == j) for j in (d % distinct for d in range(dim))]
    x = [0.0] * dim         # four entries of +-1: norm 2, cosines are multiples of 1/4
    for j in range(4):
        x[((i * 5 + i * i) + j * (2 * (i % 4) + 1)) % dim] = -1.0 if (i * j + i // 4) % 2 else 1.0
    return x


def similarities(name, x):
    if name in ("features", "precomputed", "none"):
        return x
    dot = lambda a, b: math.fsum(p * q for p, q in zip(a, b))
    if name == "correlation":
        x = [[a - math.fsum(row) / len(row) for a in row] for row in x]
    if name == "euclidean":
        d2 = [[math.fsum((p - q) ** 2 for p, q in zip(a, b)) for b in x] for a in x]
        most = max(map(max, d2))
        return [[most - d for d in row] for row in d2]
    norm = [math.sqrt(dot(a, a)) or 1 for a in x]
    return [[(dot(a, b) / (p * q)) ** 2 for b, q in zip(x, norm)] for a, p in zip(x, norm)]


class Goal:
    """One objective: gain(i) and take(i)."""

    def __init__(self, objective, similarity, x):
        self.name, self.x, self.s = objective, x, similarities(similarity, x)
        n, m = len(self.s), len(self.s[0])
        self.cur = [0.0] * m
        if objective == "saturated_coverage":
            self.cap = [0.1 * math.fsum(self.s[v][j] for v in range(n)) for j in range(m)]
        if objective in ("graph_cut", "sum_redundancy"):
            self.cur = [self.s[j][j] for j in range(n)]
            self.total = [math.fsum(row) for row in self.s]
        if objective == "reconstruction":
            self.basis = []

    def gain(self, i):
        s, cur, name = self.s[i], self.cur, self.name
        if name == "facility_location":
            return math.fsum(max(a, b) - b for a, b in zip(s, cur))
        if name in PHI:
            return math.fsum(PHI[name](b + a) - PHI[name](b) for a, b in zip(s, cur))
        if name == "max_coverage":
            return math.fsum(min(b + a, 1) - min(b, 1) for a, b in zip(s, cur))
        if name == "saturated_coverage":
            return math.fsum(min(b + a, c) - min(b, c) for a, b, c in zip(s, cur, self.cap))
        if name == "graph_cut":
            return self.total[i] - cur[i]
        if name == "sum_redundancy":
            return -cur[i]
        if name == "modular":
            return score(i)
        r = self.residual(i)
        rr, cc = math.fsum(a * a for a in r), math.fsum(a * a for a in self.x[i])
        if rr <= 0 or rr < 0.01 * cc:
            return -math.inf
        return math.fsum(moment(a, b) * r[a] * r[b] for a in range(len(r)) for b in range(len(r))) / rr

    def residual(self, i):
        r = list(self.x[i])
        for q in self.basis:
            dot = math.fsum(a * b for a, b in zip(q, r))
            r = [a - dot * b for a, b in zip(r, q)]
        return r

    def take(self, i):
        s, cur, name = self.s[i], self.cur, self.name
        if name == "facility_location":
            self.cur = [max(a, b) for a, b in zip(s, cur)]
        elif name in PHI or name in ("max_coverage", "saturated_coverage"):
            self.cur = [b + a for a, b in zip(s, cur)]
        elif name in ("graph_cut", "sum_redundancy"):
            self.cur = [b + 2 * a for a, b in zip(s, cur)]
        elif name == "reconstruction":
            r = self.residual(i)
            rr, cc = math.fsum(a * a for a in r), math.fsum(a * a for a in self.x[i])
            if rr <= 0 or rr < 0.01 * cc:
                return  # an initial one that spans nothing new
            norm = math.sqrt(rr)
            self.basis.append([a / norm for a in r])


def score(i):
    return (i * 37 % 11) / 8


def moment(a, b):  # diagonally dominant
    return (8 if a == b else 0) + ((a * b + a + b) % 5) / 4


class Mixture:
    def __init__(self, objective, similarity, x):
        self.goals = [(0.5, Goal("modular", similarity, x)), (2.0, Goal("facility_location", similarity, x))]

    def gain(self, i):
        return math.fsum(w * g.gain(i) for w, g in self.goals)

    def take(self, i):
        for _, g in self.goals:
            g.take(i)


def make(objective, similarity, x):
    return (Mixture if objective == "labo" else Goal)(objective, similarity, x)


def lead(goal, items, cost=None):
    """Largest gain, the lowest item among equals. No near ties unless of copies."""
    order = sorted(((goal.gain(i) / (cost[i] if cost else 1), -i) for i in items), reverse=True)
    best = order[0]
    for other in order[1:]:
        margin = best[0] - other[0]
        if margin != margin or margin > 1e-5 * (abs(best[0]) + 1e-9):
            break
        same = goal_x(goal)[-other[1]] == goal_x(goal)[-best[1]]
        assert same or (margin == 0 and not ROUGH), (best, other)
        if margin > 0:
            best = max(best, other, key=lambda p: p[1])
    return -best[1], goal.gain(-best[1])


def goal_x(goal):
    return goal.goals[0][1].x if isinstance(goal, Mixture) else goal.x


def naive(goal, items, count, cost=None, budget=None):
    items, picks, gains, spent = list(items), [], [], 0.0
    while len(picks) < count:
        items = [i for i in items if not budget or spent + cost[i] <= budget]
        if not items:
            break
        pick, gain = lead(goal, items, cost)
        if gain == -math.inf:
            break
        items.remove(pick)
        goal.take(pick)
        spent += cost[pick] if cost else 1
        picks.append(pick)
        gains.append(gain)
    return picks, gains


def apart(goal, values):
    """Where similarities are rounded, no two of the leading values may be near unless of copies."""
    order = sorted(((v, -i) for i, v in values.items()), reverse=True)
    for (a, i), (b, j) in zip(order, order[1:]):
        assert not ROUGH or goal_x(goal)[-i] == goal_x(goal)[-j] or a - b > 1e-5 * (abs(a) + 1e-9)


def approximate(goal, items, count):
    stale = {i: goal.gain(i) for i in items}
    fresh, picks, gains = set(stale), [], []
    while len(picks) < count and stale:
        top = max(stale, key=lambda i: (stale[i], -i))
        apart(goal, dict(sorted(stale.items(), key=lambda p: (-p[1], p[0]))[:2]))
        gain = stale[top] if top in fresh else goal.gain(top)
        if top in fresh or gain >= 0.9 * stale[top]:
            assert top in fresh or stale[top] == 0 or abs(gain / stale[top] - 0.9) > 1e-5
            del stale[top]
            fresh = set()
            goal.take(top)
            picks.append(top)
            gains.append(gain)
        else:
            stale[top] = gain
            fresh.add(top)
    return picks, gains


def front(items, epoch, step, count):
    for t in range(count):
        j = t + draw_below(epoch, step, t, len(items) - t)
        items[t], items[j] = items[j], items[t]


def stochastic(goal, items, count):
    items, picks, gains = list(items), [], []
    size = max(int(-math.log(0.9) * len(items) / count), 1)
    for step in range(count):
        front(items, 0, step, min(size, len(items)))
        pick, gain = lead(goal, items[:size])
        if gain == -math.inf:
            break
        at = items.index(pick)
        items[at] = items[-1]
        items.pop()
        goal.take(pick)
        picks.append(pick)
        gains.append(gain)
    return picks, gains


def sample(goal, items, count):
    items = list(items)
    size = min(max(int(0.9 * len(items)), count), len(items))
    front(items, 1, 0, size)
    return naive(goal, sorted(items[:size]), count)


def modular(goal, items, count):
    first = {i: goal.gain(i) for i in items}
    apart(goal, first)
    picks, gains = [], []
    for i in sorted(items, key=lambda i: (-first[i], i)):
        gain = goal.gain(i)
        if gain == -math.inf or len(picks) == count:
            continue
        gains.append(gain)
        goal.take(i)
        picks.append(i)
    return picks, gains


def parts_of(n, parts):
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = draw_below(2, 0, i, i + 1)
        order[i], order[j] = order[j], order[i]
    count, out, at = min(parts, n), [], 0
    for k in range(count):
        size = n // count + (k < n % count)
        out.append(sorted(order[at:at + size]))
        at += size
    return out


def on_members(objective, similarity, x, members, count):
    sub = [x[i] for i in members]
    if similarity == "precomputed":
        sub = [[row[j] for j in members] for row in sub]
    global score
    whole, score = score, lambda i: whole(members[i])
    try:
        picks, gains = naive(make(objective, similarity, sub), range(len(members)), min(count, len(members)))
    finally:
        score = whole
    return [members[i] for i in picks], gains


def greedi(objective, similarity, x, count):
    n, parts = len(x), parts_of(len(x), 8)
    each = min(max(min(count // 4, n // len(parts)), -(-count // len(parts))), count)
    union = sorted(i for part in parts for i in on_members(objective, similarity, x, part, each)[0])
    return naive(make(objective, similarity, x), union, count)


def greedyml(objective, similarity, x, count):
    nodes, gains = parts_of(len(x), 8), []
    while True:
        results = [on_members(objective, similarity, x, node, count) for node in nodes]
        if len(results) == 1:
            return results[0]
        nodes = [sorted(i for picks, _ in results[k:k + 2] for i in picks) for k in range(0, len(results), 2)]


def cost_of(n):
    return [1 + (i * 5 % 7) / 4 for i in range(n)]


def run(objective, similarity, optimiser, x, count):
    items = range(len(x))
    if optimiser == "greedi":
        return greedi(objective, similarity, x, count)
    if optimiser == "greedyml":
        return greedyml(objective, similarity, x, count)
    goal = make(objective, similarity, x)
    if optimiser == "initial":
        for i in (len(x) - 1, 0):
            goal.take(i)
        return naive(goal, range(1, len(x) - 1), count)
    if optimiser == "knapsack":
        return naive(goal, items, count, cost_of(len(x)), 0.6 * count)
    return {"approximate": approximate, "stochastic": stochastic, "sample": sample, "modular": modular}.get(
        optimiser, naive)(goal, items, count)


SHAPES = [(6, 5, 6, 6), (12, 7, 5, 12), (40, 24, 40, 20), (40, 24, 9, 30), (90, 33, 90, 30), (64, 70, 17, 40)]
PLANS = [("facility_location", "features", "signed"), ("facility_location", "cosine", "quarter"),
         ("facility_location", "cosine", "smooth"), ("facility_location", "correlation", "smooth"),
         ("facility_location", "euclidean", "signed"), ("facility_location", "precomputed", "matrix"),
         ("feature_sqrt", "features", "positive"), ("feature_sqrt", "features", "positive_smooth"),
         ("feature_log1p", "features", "positive_smooth"), ("feature_sigmoid", "features", "positive_smooth"),
         ("max_coverage", "features", "positive"), ("max_coverage", "features", "zero"),
         ("saturated_coverage", "cosine", "quarter"), ("saturated_coverage", "euclidean", "signed"),
         ("graph_cut", "cosine", "quarter"), ("graph_cut", "euclidean", "signed"), ("sum_redundancy", "cosine", "quarter"),
         ("modular", "none", "smooth"), ("labo", "cosine", "quarter"), ("reconstruction", "none", "smooth")]
OPTIMISERS = ["naive", "lazy", "approximate", "two_stage", "stochastic", "sample", "modular", "greedi", "greedyml",
              "initial", "knapsack"]

ALIKE = {"naive": "naive+lazy+two_stage", "lazy": None, "two_stage": None}  # one result for all three
MATRICES = 20  # at least, of each objective by each optimiser


def small_shapes():
    """Few vectors, with and without copies."""
    for n in range(4, 18):
        for distinct in (n, (n + 1) // 2, 2):
            yield n, 4 + n * 5 % 9, distinct, max(1, n * 2 // 3)


def plan_cases(plan, shape):
    """Results of every optimiser on one matrix; None where rounding would decide."""
    global ROUGH
    objective, similarity, kind = plan
    n, dim, distinct, count = shape
    if kind == "matrix":
        dim = n
    if kind == "quarter":
        dim = 16
    if objective == "reconstruction":
        dim, count = min(dim, 12), min(count, 9)
    x = [vector(kind, i, dim, distinct) for i in range(n)]
    ROUGH = "smooth" in kind
    for optimiser in OPTIMISERS:
        name = ALIKE.get(optimiser, optimiser)
        if name is None:
            continue
        k = max(1, n // 3) if optimiser in ("initial", "knapsack") else count
        try:
            # Gains of reconstruction can grow: naive runs for the lazy ones.
            runs = "naive" if objective == "reconstruction" and optimiser == "approximate" else optimiser
            picks, gains = run(objective, similarity, runs, x, k)
        except AssertionError:
            yield name, None
            continue
        yield name, [f"{objective} {similarity} {name} {kind} {n} {dim} {distinct} {k} {len(picks)}",
                     " ".join(map(str, picks)), " ".join(f"{g:.10g}" for g in gains)]


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/parity/fixtures/select.txt")
    lines, skipped, done = [], [], {}

    def add(plan, shape):
        for name, case in plan_cases(plan, shape):
            if case is None:
                skipped.append((*plan, name, shape))
            else:
                lines.extend(case)
                done[plan[0], name] = done.get((plan[0], name), 0) + 1

    for p, plan in enumerate(PLANS):
        for shape in SHAPES[p % 2::2] if p % 5 else SHAPES:
            add(plan, shape)
    for objective in dict.fromkeys(plan[0] for plan in PLANS):
        plans = [plan for plan in PLANS if plan[0] == objective]
        for turn, shape in enumerate(small_shapes()):
            if min(v for k, v in done.items() if k[0] == objective) < MATRICES:
                add(plans[turn % len(plans)], shape)
    with open(path, "w", encoding="ascii") as out:
        print(len(lines) // 3, *lines, sep="\n", file=out)
    print(len(lines) // 3, "cases,", len(skipped), "left out because rounding would decide")
    for key, count in done.items():
        if count < MATRICES:
            print("  only", count, "matrices of", *key)


if __name__ == "__main__":
    main()
