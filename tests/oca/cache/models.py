"""The policies once more, as plainly as their papers put them: lists, searches, no speed at all."""

from __future__ import annotations

from oca.cache.policy import Policy


class Model:
    """A naive cache: `sizes` is what is held; subclasses keep whatever order they need."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sizes: dict[int, int] = {}

    @property
    def used(self) -> int:
        return sum(self.sizes.values())

    def request(self, key: int, size: int) -> bool:
        if key in self.sizes:
            self.hit(key)
            return True
        if size <= self.capacity:
            self.miss(key, size)
        return False

    def hit(self, key: int) -> None:
        raise NotImplementedError

    def miss(self, key: int, size: int) -> None:
        raise NotImplementedError

    def forget(self, key: int) -> None:
        raise NotImplementedError


class FifoModel(Model):
    """`sizes` is in order of arrival."""

    def hit(self, key: int) -> None:
        pass

    def miss(self, key: int, size: int) -> None:
        while self.used + size > self.capacity:
            del self.sizes[next(iter(self.sizes))]
        self.sizes[key] = size

    def forget(self, key: int) -> None:
        self.sizes.pop(key, None)


class LruModel(FifoModel):
    """`sizes` is in order of use."""

    def hit(self, key: int) -> None:
        self.sizes[key] = self.sizes.pop(key)


class SieveModel(Model):
    """The paper's figure: a list from old to new, a hand that is a position in it."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.order: list[int] = []
        self.visited: set[int] = set()
        self.hand = 0

    def hit(self, key: int) -> None:
        self.visited.add(key)

    def miss(self, key: int, size: int) -> None:
        while self.used + size > self.capacity:
            while True:
                if self.hand >= len(self.order):
                    self.hand = 0
                at = self.order[self.hand]
                if at not in self.visited:
                    break
                self.visited.remove(at)
                self.hand += 1
            self.order.pop(self.hand)
            del self.sizes[at]
            if self.hand == len(self.order):
                self.hand = 0
        self.order.append(key)
        self.sizes[key] = size

    def forget(self, key: int) -> None:
        if key in self.sizes:
            if self.order.index(key) < self.hand:
                self.hand -= 1
            self.order.remove(key)
            self.visited.discard(key)
            del self.sizes[key]


class S3Model(Model):
    """Two lists from old to new; ghosts are never forgotten, only too old to count."""

    def __init__(
        self,
        capacity: int,
        small: float = 0.1,
        ghost: float = 0.9,
        promote: int = 2,
        fill: bool = False,
    ) -> None:
        super().__init__(capacity)
        self.small: list[int] = []
        self.main: list[int] = []
        self.counts: dict[int, int] = {}
        self.ghosts: dict[int, int] = {}
        self.evicted = 0
        self.small_max, self.ghost_max = int(capacity * small), int(capacity * ghost)
        self.promote = promote
        self.filling = fill

    def small_used(self) -> int:
        return sum(self.sizes[key] for key in self.small)

    def hit(self, key: int) -> None:
        self.counts[key] = min(3, self.counts[key] + 1)

    def miss(self, key: int, size: int) -> None:
        known = key in self.ghosts and self.evicted - self.ghosts[key] <= self.ghost_max
        self.ghosts.pop(key, None)
        if size > int(self.capacity * 0.1) and not known:
            self.evicted += self.capacity // 1024
            self.ghosts[key] = self.evicted
            return
        while self.used + size > self.capacity:
            self.filling = False
            if self.small_used() > self.small_max or not self.main:
                self.leave_small(self.small.pop(0))
            else:
                self.leave_main(self.main.pop(0))
        to_main = known or (self.filling and self.small_used() >= self.small_max)
        (self.main if to_main else self.small).append(key)
        self.sizes[key], self.counts[key] = size, 0

    def leave_small(self, key: int) -> None:
        if self.counts[key] >= self.promote:
            self.counts[key] = 0
            self.main.append(key)
        else:
            self.evicted += self.sizes.pop(key)
            self.ghosts[key] = self.evicted

    def leave_main(self, key: int) -> None:
        if self.counts[key]:
            self.counts[key] -= 1
            self.main.append(key)
        else:
            del self.sizes[key]

    def forget(self, key: int) -> None:
        if self.sizes.pop(key, None) is not None:
            (self.small if key in self.small else self.main).remove(key)


class RankModel(Model):
    """K = L + F, or L + F / size; the least K goes first, of equals the one idle longest."""

    by_size = False

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.counts: dict[int, int] = {}
        self.worth: dict[int, tuple[float, int]] = {}
        self.age = 0.0
        self.turn = 0

    def request(self, key: int, size: int) -> bool:
        self.turn += 1
        return super().request(key, size)

    def hit(self, key: int) -> None:
        self.counts[key] += 1
        self.value(key)

    def value(self, key: int) -> None:
        share = self.sizes[key] if self.by_size else 1
        self.worth[key] = (self.age + self.counts[key] / share, self.turn)

    def miss(self, key: int, size: int) -> None:
        while self.used + size > self.capacity:
            victim = min(self.sizes, key=lambda held: self.worth[held])
            self.age = self.worth[victim][0]
            del self.sizes[victim]
        self.sizes[key], self.counts[key] = size, 1
        self.value(key)

    def forget(self, key: int) -> None:
        self.sizes.pop(key, None)


class SizeRankModel(RankModel):
    """GDSF."""

    by_size = True


class ArcModel(Model):
    """T1, T2, B1, B2 as dicts from old to new."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.t1: dict[int, int] = {}
        self.t2: dict[int, int] = {}
        self.b1: dict[int, int] = {}
        self.b2: dict[int, int] = {}
        self.p = 0.0

    def hit(self, key: int) -> None:
        size = self.t1.pop(key, None) or self.t2.pop(key)
        self.t2[key] = size

    def miss(self, key: int, size: int) -> None:
        b1, b2 = sum(self.b1.values()), sum(self.b2.values())
        in_b1, in_b2 = key in self.b1, key in self.b2
        if in_b1:
            self.p = min(self.capacity, self.p + size * max(1, b2 / b1))
        elif in_b2:
            self.p = max(0, self.p - size * max(1, b1 / b2))
        self.b1.pop(key, None)
        self.b2.pop(key, None)
        while self.used + size > self.capacity:
            t1 = sum(self.t1.values())
            over = t1 > self.p or (in_b2 and t1 == self.p)
            data, ghosts = (
                (self.t1, self.b1) if self.t1 and (over or not self.t2) else (self.t2, self.b2)
            )
            victim = next(iter(data))
            ghosts[victim] = data.pop(victim)
            del self.sizes[victim]
        (self.t2 if in_b1 or in_b2 else self.t1)[key] = size
        self.sizes[key] = size
        while self.b1 and sum(self.t1.values()) + sum(self.b1.values()) > self.capacity:
            del self.b1[next(iter(self.b1))]
        while self.b2 and self.used + sum((self.b1 | self.b2).values()) > 2 * self.capacity:
            del self.b2[next(iter(self.b2))]

    def forget(self, key: int) -> None:
        for held in (self.sizes, self.t1, self.t2):
            held.pop(key, None)


class LirsModel(Model):
    """The stack as a list from bottom to top; what a key is follows from where it stands."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.stack: list[int] = []
        self.lir: list[int] = []
        self.queue: list[int] = []
        self.ghosts: dict[int, int] = {}
        self.lir_max = int(capacity * 0.99)

    def lir_used(self) -> int:
        return sum(self.sizes[key] for key in self.lir)

    def to_top(self, key: int) -> None:
        if key in self.stack:
            self.stack.remove(key)
        self.stack.append(key)

    def prune(self) -> None:
        while self.stack and self.stack[0] not in self.lir:
            self.ghosts.pop(self.stack.pop(0), None)

    def hit(self, key: int) -> None:
        if key in self.lir:
            self.to_top(key)
            self.prune()
        elif key in self.stack:
            self.queue.remove(key)
            self.promote(key)
        else:
            self.stack.append(key)
            self.queue.remove(key)
            self.queue.append(key)

    def promote(self, key: int) -> None:
        self.lir.append(key)
        self.to_top(key)
        self.prune()
        while self.lir_used() > self.lir_max and len(self.lir) > 1:
            self.demote()

    def demote(self) -> None:
        bottom = self.stack.pop(0)
        self.lir.remove(bottom)
        self.queue.append(bottom)
        self.prune()

    def miss(self, key: int, size: int) -> None:
        ghost = self.ghosts.pop(key, None) is not None
        while self.used + size > self.capacity:
            if not self.queue:
                self.demote()
            victim = self.queue.pop(0)
            if victim in self.stack:
                self.ghosts[victim] = self.sizes[victim]
            del self.sizes[victim]
        while sum(self.ghosts.values()) > self.capacity:
            oldest = next(iter(self.ghosts))
            del self.ghosts[oldest]
            self.stack.remove(oldest)
        self.sizes[key] = size
        if (ghost and key in self.stack) or self.lir_used() + size <= self.lir_max:
            self.promote(key)
        else:
            self.to_top(key)
            self.queue.append(key)

    def forget(self, key: int) -> None:
        if self.sizes.pop(key, None) is not None:
            for place in (self.lir, self.queue, self.stack):
                if key in place:
                    place.remove(key)
            self.prune()


class SecondModel(Model):
    """LRU behind second-request admission."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.inner = LruModel(capacity)
        self.sizes = self.inner.sizes
        self.seen: dict[int, int] = {}

    def request(self, key: int, size: int) -> bool:
        if key in self.sizes or self.seen.pop(key, None) is not None:
            return self.inner.request(key, size)
        self.seen[key] = size
        while sum(self.seen.values()) > self.capacity:
            del self.seen[next(iter(self.seen))]
        return False

    def forget(self, key: int) -> None:
        self.inner.forget(key)


def held_by(policy: Policy, keys: range) -> set[int]:
    """Which of these keys a policy holds."""
    return {key for key in keys if key in policy}
