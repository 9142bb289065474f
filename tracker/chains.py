"""The chain rule: from whom each installing host fetches each object (docs/protocol.md, section 10.2; decision 0051).

Pure: clock and chance are arguments, nothing is read or written elsewhere. All state is soft. The lab's simulator runs
this very code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracker.addresses import Addresses
from tracker.choice import Choice
from tracker.flow import FRONTEND, Flow, ObjectId, PeerId
from tracker.line import Line
from tracker.lookup import WAIT, Answer, Ask, Blame, Lookup, Peer, Registration
from tracker.member import Member
from tracker.policy import Policy
from tracker.progress import Progress
from tracker.standing import HEALTHY, SLOW, Report, Standing
from tracker.starvation import Starvation

SILENCE_SECONDS = 0.5
"""Who fell silent is looked for so often; it takes several seconds to be taken for silent."""
ADVANCE_SECONDS = 0.05
"""What time brings is looked at so often."""
PAUSE_SECONDS = 2.0
"""A longer time between two looks means that this process stood still."""
TOLD_SECONDS = 60.0
"""So often a host is told who stands ahead of it although that is no news: the tickets for them run out."""
FORGOTTEN_KEPT = 10_000
"""Peers that fell silent and are remembered, so that they cannot take their old places when they come back."""


def _choose_nobody(thing: ObjectId, avoid: PeerId | None) -> PeerId | None:
    return WAIT


class PeerReplaced(Exception):  # a fact about the asker, which must stop; not a failure
    """A newer start of the same host has taken this one's place."""


class Chains:
    """Who is whose parent, for every object, among all hosts that install now."""

    def __init__(
        self, policy: Policy | None = None, *, is_known_slow: Callable[[str], bool] = lambda host: False
    ) -> None:
        """``is_known_slow`` says of a host's name whether earlier installs found it slow; it begins at the end then."""
        self.policy = policy or Policy()
        self._is_known_slow = is_known_slow
        self._standing = Standing(self.policy.patience)
        self._starvation = Starvation(self.policy.starved)
        self._line = Line(self.policy.cohort)
        self._flow = Flow()
        self._members: dict[PeerId, Member] = {}
        self._choice = Choice(
            self._members, line=self._line, flow=self._flow, standing=self._standing, lateness=self.policy.lateness
        )
        self._by_host: dict[str, PeerId] = {}
        self._addresses = Addresses()
        self._forgotten: dict[PeerId, None] = {}
        self._replaced: dict[str, list[PeerId]] = {}
        self._reports: list[Report] = []
        self._advanced = self._looked = float("-inf")
        self._began: float | None = None
        self._restarted = False
        self._returned = float("-inf")
        """When somebody came back last, after a restart."""

    def __repr__(self) -> str:
        return f"<Chains {len(self._members)} hosts, {self._flow!r}>"

    def __len__(self) -> int:
        return len(self._members)

    def find(self, peer: PeerId) -> Peer | None:
        """The peer with this id, or None."""
        member = self._members.get(peer)
        return None if member is None else member.peer

    def peers(self) -> list[Peer]:
        """Those who serve and are believed to be alive and well, in no particular order."""
        return [
            member.peer
            for name, member in self._members.items()
            if self._standing.rank(name) == HEALTHY and name not in self._standing.silent()
        ]

    def peer_at(self, address: str) -> Peer | None:
        """Who speaks from this address, as far as the tracker knows; the last one to begin, if several do."""
        found = self._addresses.last(address)
        return None if found is None else self.find(found)

    def open_asks(self, peer: PeerId) -> int:
        """Objects that ``peer`` has asked for and neither finished nor dropped."""
        return len(self._flow.fetches(peer)) if peer in self._members else 0

    def reports(self) -> list[Report]:
        """What should be read in the hosts' timelines, since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def lookup(self, peer: Peer, lookup: Lookup, *, now: float, chance: float) -> Answer:
        """Take in what ``peer`` says and answer what it asks.

        Args:
            now: any clock that does not jump, in seconds.
            chance: a random number in [0, 1).

        Raises:
            PeerReplaced: a newer start of this host is known; this one must stop.
        """
        member = self._members.get(peer.id)
        if lookup.state == "leaving":
            if member is not None:
                self._forget(member, now)
            return Answer(give=(WAIT,) * len(lookup.asks))
        if member is None:
            if lookup.registration is None:
                self._check_replaced(peer)
                return Answer(give=(WAIT,) * len(lookup.asks), register=True)
            member = self._enter(peer, now)
            self._place_again(peer.id, lookup.registration, now)
        comes_back = lookup.registration is not None and peer.id in self._forgotten
        if member.peer.address != peer.address:
            self._addresses.remove(member.peer.address, peer.id)
            self._addresses.add(peer.address, peer.id)
        member.peer, member.seen, member.state = peer, now, lookup.state
        member.progress.note(lookup.received, now)
        was_silent = self._standing.heard(peer.id)
        self._take_in(member, lookup, now)
        if was_silent or comes_back:
            self._forgotten.pop(peer.id, None)
            self._send_to_end(member, now)
        self.advance(now)
        give = self._give(member, lookup.asks, now)
        moves, member.moves = tuple(member.moves.items()), {}
        member.next = self._next(member, chance)
        return Answer(give, moves, member.next, self._line.place(peer.id), ahead=self._news_ahead(member, now))

    def advance(self, now: float) -> None:
        """Do what time brings: forget the silent, judge the slow, serve those who wait."""
        gap = now - self._advanced
        if gap < ADVANCE_SECONDS:
            return
        self._advanced = now
        if gap > PAUSE_SECONDS:
            # This process stood still, or is new: silence meanwhile proves nothing.
            for member in self._members.values():
                member.seen = now
        if now - self._looked >= SILENCE_SECONDS:
            self._looked = now
            self._forget_the_silent(now)
        self._judge(now)
        self._find_starvers(now)
        for member in [member for member in self._members.values() if member.waits]:
            self._move(member, list(member.waits), now)

    def _forget_the_silent(self, now: float) -> None:
        for member in [m for m in self._members.values() if now - m.seen > 3 * m.next + 3]:
            self._forget(member, now)
            self._forgotten[member.peer.id] = None
            if len(self._forgotten) > FORGOTTEN_KEPT:
                del self._forgotten[next(iter(self._forgotten))]

    # --- taking in ---

    def _enter(self, peer: Peer, now: float) -> Member:
        self._check_replaced(peer)
        older = self._by_host.get(peer.host)
        if older is not None:
            self._forget(self._members[older], now)
            self._replaced[peer.host] = [*self._replaced.get(peer.host, [])[-7:], older]
        if self._began is None:
            self._began = now
        member = self._members[peer.id] = Member(
            peer, now, now, self.policy.next_range[1], Progress(3 * self.policy.starved)
        )
        self._by_host[peer.host] = peer.id
        self._addresses.add(peer.address, peer.id)
        self._flow.enter(peer.id, peer.rack)
        self._standing.enter(peer.id, known_slow=self._is_known_slow(peer.host))
        self._line.enter(peer.id, rack=peer.rack, rank=self._standing.rank(peer.id), now=now)
        return member

    def _check_replaced(self, peer: Peer) -> None:
        if peer.id in self._replaced.get(peer.host, ()):
            raise PeerReplaced(f"a newer start of {peer.host} has taken the place of this one")

    def _forget(self, member: Member, now: float) -> None:
        peer = member.peer.id
        del self._members[peer], self._by_host[member.peer.host]
        self._addresses.remove(member.peer.address, peer)
        self._line.leave(peer)
        self._standing.forget(peer)
        self._starvation.forget(peer)
        self._flow.forget(peer)
        self._empty(peer, now)

    def _take_in(self, member: Member, lookup: Lookup, now: float) -> None:
        peer = member.peer.id
        if lookup.registration is not None:
            member.told = None  # it may have missed an answer
            member.wants = lookup.registration.wants
            for thing in lookup.registration.have:
                self._hold(member, thing, now)
            for thing, parent, _ in lookup.registration.fetch:
                self._register_fetch(member, thing, parent)
        for thing in lookup.done:
            self._hold(member, thing, now)
        for thing in lookup.dropped:
            self._flow.drop(peer, thing)
            self._settle(member, thing)
        for blame in lookup.blames:
            if blame.parent != peer:
                self._hear(member, blame, now)

    def _hold(self, member: Member, thing: ObjectId, now: float) -> None:
        self._flow.hold(member.peer.id, thing, now)
        self._starvation.meet(member.peer.id, thing)
        self._decide_no_more(member, thing)

    def _register_fetch(self, member: Member, thing: ObjectId, parent: PeerId) -> None:
        peer = member.peer.id
        if self._flow.holds(peer, thing):
            return
        self._settle(member, thing)
        if parent == peer or self._flow.depends(parent, peer, thing):
            # Two claims that contradict each other must not become a circle.
            self._flow.fetch(peer, thing, WAIT)
            member.waits.add(thing)
        else:
            self._flow.fetch(peer, thing, parent)

    def _place_again(self, peer: PeerId, registration: Registration, now: float) -> None:
        """After a restart the line gets its former order from its hosts' memory. Nobody chooses at another time, nor
        after having been silent for too long.
        """
        if registration.place is None or peer in self._forgotten:
            return
        if self._began is not None and now - self._began < self.policy.recall:
            self._restarted, self._returned = True, now
            self._line.return_to(peer, registration.place)

    def _settle(self, member: Member, thing: ObjectId) -> None:
        self._decide_no_more(member, thing)
        self._starvation.settle(member.peer.id, thing)

    def _decide_no_more(self, member: Member, thing: ObjectId) -> None:
        member.moves.pop(thing, None)
        member.waits.discard(thing)

    def _hear(self, member: Member, blame: Blame, now: float) -> None:
        child, until = member.peer, now + self.policy.patience.ban
        accused = self.find(blame.parent)
        if blame.parent == FRONTEND and blame.why != "starved":
            return  # there is no other of its kind; that it starves a child clears the child, though
        if blame.why == "dead":
            self._standing.called_dead(child.id, blame.parent, now)
        elif blame.why == "refused":
            self._standing.ban(child.id, blame.parent, until)
        elif blame.why == "stalled":
            self._leave(member, blame.parent, now)
        elif blame.why == "corrupt":
            self._hear_corrupt(child, blame, accused, now)
        elif blame.why == "starved" and blame.thing is not None:
            if self._flow.fetches(child.id).get(blame.thing) == blame.parent:
                self._starvation.complain(child.id, blame.thing, blame.parent, now)
        elif blame.why == "slow" and accused is not None and self._may_complain(member, blame.parent, now):
            self._standing.slow_edge(child.id, blame.parent, now)

    def _hear_corrupt(self, child: Peer, blame: Blame, accused: Peer | None, now: float) -> None:
        host = blame.parent if accused is None else accused.host
        if not self._standing.sent_garbage(child.id, child.host, blame.parent, host) or accused is None:
            return
        text = f"{child.host} got bytes of {blame.thing or 'an object'} from {host} that fail their hash"
        if self._standing.is_condemned(blame.parent):
            text += f"; it is not the first one, and nobody fetches from {host} any more"
        self._report(accused, "corrupt", text)
        self._send_to_end(self._members[blame.parent], now)

    def _may_complain(self, member: Member, parent: PeerId, now: float) -> bool:
        """Whether a slow edge means anything: both ends have found their pace, and nobody shares the uplink."""
        patience = self.policy.patience
        quiet = patience.quiet if self._standing.rank(member.peer.id) == HEALTHY else patience.quiet_suspect
        return (
            member.state == "fetching"
            and now - member.entered >= patience.start
            and now - member.moved >= quiet
            and parent in self._members
            and now - self._members[parent].moved >= patience.quiet
            and sum(self._standing.rank(other) != SLOW for other in self._flow.children_served(parent)) <= 1
        )

    def _report(self, peer: Peer, status: str, text: str) -> None:
        self._reports.append(Report(peer.host, peer.order, status, text))

    # --- deciding ---

    def _judge(self, now: float) -> None:
        for peer, rank, is_news in self._standing.decide(now):
            member = self._members[peer]
            host = member.peer.host
            if not is_news:
                self._line.keep_with_rank(peer, rank)
                continue
            if rank == HEALTHY:
                self._report(member.peer, "restored", f"{host} was not the slow one; it serves like the others again")
            else:
                self._report(member.peer, "slow", f"{host} delivers or takes bytes slowly; it goes behind the others")
            self._send_to_end(member, now)

    def _find_starvers(self, now: float) -> None:
        """Find who holds a chain up: of all that starve, the first one's parent."""
        for child, thing, parent in self._starvation.ripe(now):
            member = self._members[child]
            if self._is_excused(parent, member, thing, now):
                continue
            self._starvation.help(child, thing, now)
            if member.progress.pace(now):
                self._standing.slow_edge(child, parent, now)  # right bytes, and too few: which end is it?
            else:
                self._leave(member, parent, now)
                self._move(member, [thing], now)

    def _leave(self, child: Member, parent: PeerId, now: float) -> None:
        """``child`` got nothing from ``parent``, which should have had it."""
        if not self._standing.left(child.peer.id, parent, now, ban=self.policy.patience.ban_withheld):
            return
        accused = self._members[parent]
        if self._standing.withheld(child.peer.host, parent):
            text = f"{accused.peer.host} keeps bytes back from several hosts; it goes behind the others"
            self._report(accused.peer, "slow", text)
        self._send_to_end(accused, now)

    def _is_excused(self, parent: PeerId, child: Member, thing: ObjectId, now: float) -> bool:
        """Whether ``parent`` cannot have ``thing`` yet: it starves too, or is busy with what comes before.

        One that just got another parent for saying so must deliver, and so must one that told us it has the object.
        """
        member = self._members.get(parent)
        if member is None:
            return parent == FRONTEND
        if self._flow.holds(parent, thing):
            return not self._has_long_held(parent, thing, now)
        return (
            self._flow.fetches(parent).get(thing, FRONTEND) is WAIT
            or self._starvation.is_believed(parent, now, after_help=self.policy.patience.ban)
            or self._is_busy(member, child, thing, now)
        )

    def _is_busy(self, parent: Member, child: Member, thing: ObjectId, now: float) -> bool:
        """Whether ``parent`` gets much more than ``child``; or as little, and so does everyone ahead of it."""
        pace, most = parent.progress.pace(now), 2 * child.progress.pace(now)
        if not 0 < pace <= most:
            return pace > 0
        return not any(
            self._members[other].progress.pace(now) > most or self._has_long_held(other, thing, now)
            for other in self._flow.ancestors(parent.peer.id, thing)
            if other in self._members
        )

    def _has_long_held(self, peer: PeerId, thing: ObjectId, now: float) -> bool:
        held = self._flow.holds_since(peer, thing)
        return held is not None and held <= now - 3 * self.policy.starved

    def _empty(self, parent: PeerId, now: float) -> None:
        """Move every child of ``parent`` elsewhere."""
        pairs = [(thing, child) for thing, children in self._flow.children(parent).items() for child in children]
        for thing, child in pairs:
            self._move(self._members[child], [thing], now, avoid=parent)

    def _send_to_end(self, member: Member, now: float) -> None:
        """Who lost a child, or is slow, goes behind the others; what it fetches and who fetched from it is moved."""
        peer = member.peer.id
        self._line.send_to_end(peer, rank=self._standing.rank(peer), now=now)
        self._empty(peer, now)
        self._move(member, list(self._flow.fetches(peer)), now)

    def _move(self, member: Member, things: list[ObjectId], now: float, avoid: PeerId | None = None) -> None:
        """Give ``member`` the parents for ``things`` that it would get if it asked now; it hears of them at its next
        lookup.
        """
        if self._must_wait(member, now):
            return
        choose = self._choice.of(member.peer.id, now)
        for thing in things:
            earlier = self._flow.fetches(member.peer.id)[thing]
            parent = choose(thing, avoid)
            if parent is None or parent == earlier:  # None is WAIT
                continue
            if earlier is not WAIT:
                member.moved = now
            self._flow.fetch(member.peer.id, thing, parent)
            member.waits.discard(thing)
            member.moves[thing] = parent

    def _next(self, member: Member, chance: float) -> float:
        shortest, longest = self.policy.next_range
        seconds = min(max(len(self._members) / self.policy.pace, shortest), longest)
        if member.waits or self._standing.is_deciding():
            seconds = shortest / 2
        return seconds * (0.75 + 0.5 * chance)

    # --- choosing ---

    def _give(self, member: Member, asks: Sequence[Ask], now: float) -> tuple[PeerId | None, ...]:
        peer = member.peer.id
        choose = _choose_nobody if self._must_wait(member, now) else self._choice.of(peer, now)
        fetches, given = self._flow.fetches(peer), []
        for ask in asks:
            if ask.thing in fetches:
                self._settle(member, ask.thing)
            parent = choose(ask.thing, ask.avoid)
            self._flow.fetch(peer, ask.thing, parent)
            if parent is WAIT:
                member.waits.add(ask.thing)
            given.append(parent)
        return tuple(given)

    def _must_wait(self, member: Member, now: float) -> bool:
        """Whether those whom ``member`` is to stand behind may still come, or say what they hold."""
        came = now - member.entered
        return self._is_settling(now) or (came < self.policy.cohort and self._line.is_at_seam(member.peer.id))

    def _news_ahead(self, member: Member, now: float) -> tuple[PeerId, ...] | None:
        """Who stands ahead, when that is news: most answers have nothing else to say, and all go over one link."""
        found = None if self._must_wait(member, now) else self._choice.stand_ins(member.peer.id, now)
        if found is None or (found == member.told and now - member.told_at < TOLD_SECONDS):
            return None
        member.told, member.told_at = found, now
        return found

    def _is_settling(self, now: float) -> bool:
        """Whether the tracker was restarted just now, and does not know yet who holds what."""
        if not self._restarted or self._began is None:
            return False
        running, policy = now - self._began, self.policy
        return running < policy.settle or (running < policy.recall and now - self._returned < policy.lull)
