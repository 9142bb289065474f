"""The chain rule: who becomes whose parent, and what changes that."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.chains import TOLD_SECONDS, Chains, PeerReplaced
from tracker.choice import LOOKED_AHEAD
from tracker.flow import FRONTEND
from tracker.lookup import WAIT, Answer, Ask, Blame, Lookup, Peer, Registration

EVERYTHING = frozenset({"x", "y", "z"})


class Cluster:
    """Hosts that speak to a tracker on a clock of their own."""

    def __init__(self, *, slow: str = "") -> None:
        self.chains = Chains(is_known_slow=lambda host: host in slow.split())
        self.now = 1000.0
        self.moved: dict[str, dict[str, str]] = {}
        self.told: dict[str, tuple[str, ...]] = {}

    def peer(self, name: str, *, rack: str = "0", order: int = 1) -> Peer:
        return Peer(f"{name}-{order}", name, rack, f"{order:016x}", "g-1", "10.0.0.1", 4000)

    def say(self, name: str, *, rack: str = "0", order: int = 1, **fields: object) -> Answer:
        lookup = Lookup(**fields)  # type: ignore[arg-type]
        answer = self.chains.lookup(self.peer(name, rack=rack, order=order), lookup, now=self.now, chance=0.5)
        self.moved.setdefault(name, {}).update(self.moves(answer))
        if answer.ahead is not None:
            self.told[name] = answer.ahead
        return answer

    def ahead(self, name: str) -> str:
        """Whom a host knows ahead of it, nearest first, after a lookup."""
        self.say(name)
        return " ".join(str(peer) for peer in self.names(self.told.get(name, ())))

    def join(self, *names: str, rack: str = "0", wants: frozenset[str] = EVERYTHING) -> None:
        for name in names:
            self.say(name, rack=rack, registration=Registration(wants))

    def line_up(self, *names: str) -> None:
        """They join, and ask for x."""
        self.join(*names)
        for name in names:
            self.ask(name)

    def ask(self, name: str, *things: str, rack: str = "0", avoid: str | None = None) -> list[str | None]:
        left = None if avoid is None else f"{avoid}-1"
        asks = tuple(Ask(thing, 100, left) for thing in things or ("x",))
        return self.names(self.say(name, rack=rack, asks=asks).give)

    def blame(self, name: str, parent: str, why: str, thing: str | None = None, **fields: object) -> Answer:
        return self.say(name, blames=(Blame(f"{parent}-1", why, thing),), **fields)

    def names(self, peers: tuple[str | None, ...]) -> list[str | None]:
        return [None if peer is None else peer.removesuffix("-1") for peer in peers]

    def moves(self, answer: Answer) -> dict[str, str]:
        return {thing: parent.removesuffix("-1") for thing, parent in answer.moves}

    def wait(self, seconds: float, *alive: str) -> None:
        """Time passes; those who are ``alive`` are heard every half second."""
        for _ in range(round(seconds / 0.5)):
            self.now += 0.5
            for name in alive:
                self.say(name)
            self.chains.advance(self.now)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_hosts_form_one_chain_in_the_order_in_which_they_came(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    assert cluster.ask("c") == ["b"], "b will fetch it, so c need not wait for b's question"
    assert cluster.ask("a") == [FRONTEND]
    assert cluster.ask("b") == ["a"]


def test_the_parent_is_the_nearest_one_that_wants_the_object(cluster: Cluster) -> None:
    cluster.join("a")
    cluster.join("b", wants=frozenset({"y"}))
    cluster.join("c")
    assert cluster.ask("c", "x", "y") == ["a", "b"]


def test_what_no_closure_holds_comes_from_who_asked_first(cluster: Cluster) -> None:
    cluster.join("a", "b", wants=frozenset())
    assert cluster.ask("b", "x") == [FRONTEND]
    assert cluster.ask("a", "x") == ["b"]


def test_a_host_is_never_its_own_parent_nor_its_childrens_child(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    for name in ("a", "b", "c"):
        cluster.ask(name)
    assert cluster.ask("b", avoid="a") == [FRONTEND], "c hangs on b"
    cluster.say("c", done=("x",))
    assert cluster.ask("b", avoid="a") == ["c"], "c has it now"


def test_an_unknown_host_is_told_to_register_first(cluster: Cluster) -> None:
    answer = cluster.say("a", asks=(Ask("x", 1),))
    assert (answer.register, answer.give) == (True, (WAIT,))


def test_a_dead_parent_is_left_by_all_and_comes_back_at_the_end(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    assert cluster.blame("c", "b", "dead", asks=(Ask("x", 50, "b-1"),)).give == ("a-1",)
    cluster.wait(1.0, "a", "c", "d")
    assert cluster.ask("d", "y") == ["c"]
    answer = cluster.say("b")
    assert cluster.moves(answer) == {"x": "d"}, "it is fed by the tail now"
    assert cluster.ask("b", "z") == ["d"]


def test_who_loses_its_parent_is_not_sent_to_another_one_that_is_not_heard_any_more(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    cluster.wait(2.0, "a", "d")
    assert cluster.ask("d", avoid="c") == ["a"], "b has not spoken since long, either"
    cluster.say("b")
    assert cluster.ask("d", avoid="c") == ["b"]


def test_who_is_silent_for_long_is_forgotten_and_its_children_move(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    for name in "abc":
        cluster.ask(name)
    moves: dict[str, str] = {}
    for _ in range(60):
        cluster.now += 0.5
        cluster.say("a")
        moves |= cluster.moves(cluster.say("c"))
    assert moves == {"x": "a"}
    assert len(cluster.chains) == 2


def test_a_pause_of_the_tracker_itself_kills_nobody(cluster: Cluster) -> None:
    cluster.join("a", "b")
    cluster.now += 3600
    cluster.chains.advance(cluster.now)
    assert len(cluster.chains) == 2


def test_who_leaves_is_forgotten_at_once_and_its_children_move(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    for name in "abc":
        cluster.ask(name)
    cluster.say("b", state="leaving")
    assert cluster.moves(cluster.say("c")) == {"x": "a"}
    assert cluster.chains.find("b-1") is None


def test_who_left_and_was_never_there_is_no_error(cluster: Cluster) -> None:
    assert cluster.say("a", state="leaving", asks=(Ask("x", 1),)).give == (WAIT,)


def test_a_newer_start_of_a_host_replaces_the_older_one(cluster: Cluster) -> None:
    cluster.join("a", "b")
    cluster.ask("b")
    cluster.say("a", order=2, registration=Registration(EVERYTHING))
    assert cluster.moves(cluster.say("b")) == {"x": FRONTEND}, "the newcomer stands behind b"
    with pytest.raises(PeerReplaced):
        cluster.say("a")
    with pytest.raises(PeerReplaced):
        cluster.say("a", registration=Registration())


def test_bad_bytes_send_the_parent_to_the_end_and_into_its_timeline(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    assert cluster.blame("c", "b", "corrupt", "x", asks=(Ask("x", 100, "b-1"),)).give == ("a-1",)
    (report,) = cluster.chains.reports()
    assert (report.host, report.order, report.status) == ("b", f"{1:016x}", "corrupt")
    assert "c got bytes of x from b that fail their hash" in report.text
    assert cluster.chains.reports() == []


def test_after_a_second_accuser_nobody_fetches_there_any_more(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    cluster.say("b", done=("x",))
    cluster.blame("c", "b", "corrupt", "x")
    cluster.blame("d", "b", "corrupt", "x")
    assert "nobody fetches from b any more" in cluster.chains.reports()[-1].text
    cluster.join("e")
    assert cluster.ask("e", "x") == ["d"]


def test_a_stalled_parent_goes_to_the_end_with_its_fetches(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    for name in "abc":
        cluster.ask(name)
    cluster.blame("c", "b", "stalled", asks=(Ask("x", 10, "b-1"),))
    assert cluster.moves(cluster.say("b")) == {"x": "c"}


def starve(cluster: Cluster, children: str, *, growing: str = "") -> dict[str, str]:
    """All ``children`` (and their parents) complain for some seconds; return who got another parent."""
    moved: dict[str, str] = {}
    for second in range(4):
        cluster.now += 1.0
        for name in "abcd":
            parent = {"a": FRONTEND, "b": "a-1", "c": "b-1", "d": "c-1"}[name]
            blames = (Blame(parent, "starved", "x"),) if name in children else ()
            answer = cluster.say(name, blames=blames, received=second + 1 if name in growing else 0)
            for parent in cluster.moves(answer).values():
                moved.setdefault(name, parent)
    return moved


def test_of_all_that_starve_only_the_first_ones_parent_is_the_culprit(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    moved = starve(cluster, "cd")
    assert moved["c"] == "a", "c starves and its parent b does not say so"
    assert "d" not in moved, "d's parent c starves as well, and help takes a moment"


def test_a_chain_that_starves_up_to_the_frontend_is_left_alone(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    assert starve(cluster, "abcd") == {}


def test_a_parent_that_is_busy_with_other_objects_is_excused(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    assert starve(cluster, "cd", growing="b") == {}


def test_a_parent_that_says_it_has_the_object_is_not_excused(cluster: Cluster) -> None:
    cluster.join("a", "b", "c", "d")
    for name in "abcd":
        cluster.ask(name)
    cluster.say("b", done=("x",))
    cluster.wait(3.0, *"abcd")
    assert starve(cluster, "cd", growing="b")["c"] == "a"


def drip(cluster: Cluster, paces: dict[str, int], children: str) -> set[str]:
    """Hosts say what they receive in a second, and ``children`` that it is too little; return who is found slow."""
    reports = []
    for second in range(1, 7):
        cluster.now += 1.0
        for name, pace in paces.items():
            parent = FRONTEND if name == "a" else f"{chr(ord(name) - 1)}-1"
            blames = (Blame(parent, "starved", "x"),) if name in children else ()
            cluster.say(name, blames=blames, received=10_000 + second * pace)
        reports += cluster.chains.reports()
    return {report.host for report in reports if report.status == "slow"}


@pytest.fixture
def chain(cluster: Cluster) -> Cluster:
    """Eight hosts in a line; x is on its way to all of them."""
    cluster.line_up(*"abcdefgh")
    cluster.wait(4.0, *"abcdefgh")
    return cluster


def test_who_has_the_object_and_sends_a_trickle_is_found_slow(chain: Cluster) -> None:
    chain.say("d", done=("x",))
    chain.wait(4.0, *"abcdefgh")
    found = drip(chain, {**dict.fromkeys("abcd", 1000), **dict.fromkeys("efgh", 50)}, "efgh")
    assert found == {"d", "e"}, "which end it is, nobody knows yet; those behind are innocent"


def test_who_sends_a_trickle_and_hides_that_it_has_more_is_found_by_what_is_ahead_of_it(chain: Cluster) -> None:
    found = drip(chain, {**dict.fromkeys("abc", 1000), **dict.fromkeys("defgh", 50)}, "efgh")
    assert found == {"d", "e"}


def test_who_sends_a_trickle_and_blames_its_parent_is_in_doubt_together_with_it(chain: Cluster) -> None:
    for name in "abc":
        chain.say(name, done=("x",))
    chain.wait(4.0, *"abcdefgh")
    found = drip(chain, {**dict.fromkeys("abc", 1000), **dict.fromkeys("defgh", 50)}, "defgh")
    assert found == {"c", "d"}


def test_a_trickle_that_comes_to_all_is_nobodys_fault(chain: Cluster) -> None:
    assert drip(chain, dict.fromkeys("abcdefgh", 50), "abcdefgh") == set()
    assert drip(chain, dict.fromkeys("abcdefgh", 50), "cfh") == set(), "some had never more, and do not complain"


def test_a_parent_that_gets_much_more_than_its_child_is_busy_with_other_objects(chain: Cluster) -> None:
    assert drip(chain, {**dict.fromkeys("abcd", 1000), **dict.fromkeys("efgh", 50)}, "efgh") == set()


def test_a_slow_edge_puts_its_ends_behind_the_others(cluster: Cluster) -> None:
    cluster.line_up(*"abcdefgh")
    cluster.wait(3.5, *"abcdefgh")
    cluster.blame("d", "c", "slow")
    cluster.wait(1.0, *"abcdefgh")
    assert {(r.host, r.status) for r in cluster.chains.reports()} == {("c", "slow"), ("d", "slow")}
    assert {name: cluster.moved[name] for name in "edc"} == {"e": {"x": "b"}, "d": {"x": "h"}, "c": {"x": "d"}}


@pytest.mark.parametrize(("seconds", "found"), [(0.0, set()), (0.5, set()), (1.5, {"c", "d"})])
def test_complaints_about_pace_mean_nothing_right_after_the_start(
    cluster: Cluster, seconds: float, found: set[str]
) -> None:
    cluster.line_up(*"abcdefgh")
    cluster.wait(seconds, *"abcdefgh")
    cluster.blame("d", "c", "slow")
    cluster.wait(2.0, *"abcdefgh")
    assert {report.host for report in cluster.chains.reports()} == found


def test_complaints_about_pace_mean_nothing_right_after_a_move(cluster: Cluster) -> None:
    cluster.line_up(*"abcdefgh")
    cluster.wait(3.5, *"abcdefgh")
    cluster.blame("d", "c", "stalled")
    cluster.wait(2.0, *"abcdefgh")
    cluster.chains.reports()
    cluster.blame("d", "b", "slow")
    cluster.wait(2.0, *"abcdefgh")
    assert cluster.chains.reports() == []


def test_who_registers_again_with_a_tracker_that_knows_it_keeps_its_place(cluster: Cluster) -> None:
    cluster.line_up(*"abcd")
    cluster.wait(1.0, *"abcd")
    cluster.say("c", registration=Registration(EVERYTHING, place=2, fetch=(("x", "b-1", 100),)))
    assert cluster.ask("c", "y") == ["b"]
    assert cluster.ask("d", "y") == ["c"]


def test_a_host_known_to_be_slow_comes_last_and_is_nobodys_parent() -> None:
    cluster = Cluster(slow="a")
    cluster.join("a", "b", "c")
    assert cluster.ask("a") == [None], "it waits a moment for those it is to stand behind"
    cluster.now += 0.5
    assert cluster.moves(cluster.say("a")) == {"x": "c"}
    cluster.say("a", done=("x",))
    assert cluster.ask("b") == [FRONTEND]


def test_the_second_rack_is_fed_by_the_tail_of_the_first(cluster: Cluster) -> None:
    cluster.join("a")
    cluster.join("r", rack="1")
    cluster.join("b", "c")
    cluster.join("s", rack="1")
    assert cluster.ask("r", rack="1") == [None], "others of the first rack may still be coming"
    assert cluster.ask("s", rack="1") == ["r"]
    cluster.now += 0.5
    assert cluster.moves(cluster.say("r", rack="1")) == {"x": "c"}


def test_a_restarted_tracker_gets_the_old_chain_back(cluster: Cluster) -> None:
    cluster.join("a", "b", "c")
    places = {name: cluster.say(name).place for name in "abc"}
    restarted = Cluster()
    for name in "cab":
        have = Registration(EVERYTHING, places[name], ("x",), (("y", FRONTEND if name == "a" else "q-1", 5),))
        answer = restarted.say(name, registration=have, asks=(Ask("z", 9),))
        assert answer.give == (WAIT,), "who asks first does not know what the others hold"
    restarted.now += 0.5
    assert [restarted.moves(restarted.say(name)) for name in "abc"] == [{"z": FRONTEND}, {"z": "a"}, {"z": "b"}]


def test_while_hosts_come_back_to_a_restarted_tracker_nobody_gets_a_parent(cluster: Cluster) -> None:
    names = [f"h{number:02}" for number in range(20)]
    cluster.join(*names)
    places = {name: cluster.say(name).place for name in names}
    restarted = Cluster()
    for name in reversed(names):
        registration = Registration(EVERYTHING, places[name])
        assert restarted.say(name, registration=registration, asks=(Ask("z", 9),)).give == (WAIT,)
        assert restarted.say(name).ahead is None, "who stands ahead is not known yet"
        restarted.now += 0.15
    restarted.now += 0.1
    moves = [restarted.moves(restarted.say(name)) for name in names]
    assert moves == [{"z": FRONTEND}, *({"z": name} for name in names[:-1])]


def test_a_newcomer_does_not_make_those_who_came_back_wait(cluster: Cluster) -> None:
    restarted = Cluster()
    restarted.say("a", registration=Registration(EVERYTHING, 0), asks=(Ask("z", 9),))
    restarted.now += 0.45
    restarted.join("new")
    assert restarted.moves(restarted.say("a")) == {"z": FRONTEND}


def test_a_host_is_told_who_stands_ahead_of_it_and_may_serve_it(cluster: Cluster) -> None:
    cluster.line_up(*"abcdefg")
    assert [cluster.ahead(name) for name in "abg"] == ["", "a", "f e d c b"]
    cluster.blame("g", "f", "dead")
    assert cluster.ahead("g") == "e d c b a"


def test_who_stands_ahead_is_said_again_when_it_is_news_or_was_missed_or_tickets_run_out(cluster: Cluster) -> None:
    cluster.line_up("a", "b")
    assert cluster.say("b").ahead is None
    assert cluster.say("b", registration=Registration(EVERYTHING, 1)).ahead == ("a-1",)
    cluster.told.clear()
    cluster.wait(TOLD_SECONDS - 0.5, "a", "b")
    assert "b" not in cluster.told
    cluster.wait(0.5, "a", "b")
    assert cluster.told["b"] == ("a-1",)
    cluster.blame("b", "a", "dead")
    assert cluster.ahead("b") == ""


def test_who_is_of_no_use_is_not_named_and_nobody_is_said_to_be_first_who_may_not_be(cluster: Cluster) -> None:
    cluster.join("a")
    cluster.join(*(f"n{number:02}" for number in range(LOOKED_AHEAD - 1)), wants=frozenset())
    cluster.join("b")
    assert cluster.ahead("b") == "a"
    cluster.join("other", wants=frozenset())
    cluster.join(*"cdefg")
    cluster.say("c")
    assert "c" not in cluster.told, "only b is near, and a stands beyond"
    assert cluster.ahead("g") == "f e d c b"


def test_who_registers_again_waits_no_longer_for_what_it_has_or_fetches(cluster: Cluster) -> None:
    cluster.say("a", registration=Registration(EVERYTHING, 0))
    assert cluster.ask("a", "x", "y") == [None, None]
    cluster.say("a", registration=Registration(EVERYTHING, None, ("x",), (("y", FRONTEND, 5),)))
    cluster.wait(3.0, "a")
    assert cluster.moved["a"] == {}


def test_nobody_chooses_its_place_at_another_time(cluster: Cluster) -> None:
    cluster.join("a", "b")
    cluster.wait(11.0, "a", "b")
    cluster.say("m", registration=Registration(EVERYTHING, 0))
    assert cluster.say("m").place == 2


def test_who_was_forgotten_early_in_the_run_comes_back_at_the_end(cluster: Cluster) -> None:
    cluster.line_up("a", "b", "c", "d")
    cluster.blame("c", "b", "dead", asks=(Ask("x", 9, "b-1"),))
    cluster.wait(5.0, "a", "c", "d")
    assert cluster.say("b").register, "it was silent for too long"
    answer = cluster.say("b", registration=Registration(EVERYTHING, 1, (), (("x", "a-1", 5),)))
    assert (answer.place, cluster.moves(answer)) == (3, {"x": "d"})


def test_claims_that_contradict_each_other_make_no_circle(cluster: Cluster) -> None:
    cluster.say("a", registration=Registration(EVERYTHING, None, (), (("x", "b-1", 5),)))
    answer = cluster.say("b", registration=Registration(EVERYTHING, None, (), (("x", "a-1", 5),)))
    assert cluster.moves(answer) == {} or cluster.moves(answer) == {"x": FRONTEND}
    cluster.now += 0.5
    assert cluster.moves(cluster.say("b")) == {"x": FRONTEND}


def test_the_time_to_the_next_lookup_grows_with_the_cluster(cluster: Cluster) -> None:
    cluster.join("a")
    assert cluster.say("a").next == pytest.approx(0.5)
    cluster.join(*(f"h{number}" for number in range(100)))
    assert cluster.say("a").next == pytest.approx(101 / 40)


def rack_of(name: str) -> str:
    return "1" if name > "h2" else "0"


class Anything(RuleBasedStateMachine):
    """Whatever hosts say, in whatever order: nobody waits for himself, and every ask has an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(slow="h3")
        self.parents: dict[tuple[str, str], str] = {}
        self.known: set[str] = set()

    names = st.sampled_from([f"h{number}" for number in range(6)])
    things = st.sampled_from(sorted(EVERYTHING))

    def take(self, name: str, asks: tuple[Ask, ...], answer: Answer) -> None:
        if answer.register:
            self.known.discard(name)
        for ask, parent in zip(asks, answer.give, strict=True):
            assert parent != f"{name}-1"
            self.parents.pop((name, ask.thing), None)
            if parent is not None:
                self.parents[name, ask.thing] = parent
        for thing, parent in answer.moves:
            assert parent != f"{name}-1"
            self.parents[name, thing] = parent

    @rule(
        name=names,
        wants=st.frozensets(things),
        place=st.none() | st.integers(0, 9),
        have=st.frozensets(things),
        fetch=st.dictionaries(things, names),
    )
    def register(
        self, name: str, wants: frozenset[str], place: int | None, have: frozenset[str], fetch: dict[str, str]
    ) -> None:
        fetched = tuple((thing, f"{other}-1", 5) for thing, other in sorted(fetch.items()))
        said = Registration(wants, place, tuple(sorted(have)), fetched)
        answer = self.cluster.say(name, rack=rack_of(name), registration=said)
        self.known.add(name)
        self.take(name, (), answer)

    @rule(
        name=names,
        wanted=st.sets(things, min_size=1),
        other=names,
        why=st.sampled_from(["", "dead", "refused", "stalled", "slow"]),
    )
    def ask(self, name: str, wanted: set[str], other: str, why: str) -> None:
        asks = tuple(Ask(thing, 10, f"{other}-1" if why else None) for thing in sorted(wanted))
        blames = (Blame(f"{other}-1", why),) if why else ()
        self.take(name, asks, self.cluster.say(name, rack=rack_of(name), asks=asks, blames=blames))

    @rule(name=names, thing=things, other=names, why=st.sampled_from(["corrupt", "starved"]))
    def accuse(self, name: str, thing: str, other: str, why: str) -> None:
        self.take(name, (), self.cluster.blame(name, other, why, thing, rack=rack_of(name)))

    @rule(name=names, thing=things)
    def finish(self, name: str, thing: str) -> None:
        self.parents.pop((name, thing), None)
        self.take(name, (), self.cluster.say(name, rack=rack_of(name), done=(thing,)))

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.cluster.say(name, state="leaving")
        self.known.discard(name)
        self.parents = {key: parent for key, parent in self.parents.items() if key[0] != name}

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.0, 3.0, 8.0]))
    def wait(self, seconds: float) -> None:
        self.cluster.now += seconds
        self.cluster.chains.advance(self.cluster.now)

    @invariant()
    def the_trackers_edges_form_no_circle(self) -> None:
        flow = self.cluster.chains._flow
        for name in self.known:
            for thing in EVERYTHING:
                assert f"{name}-1" not in flow.descendants(f"{name}-1", thing)

    @invariant()
    def everybody_known_has_a_place(self) -> None:
        chains = self.cluster.chains
        assert len(chains._line) == len(chains) == len(chains._by_host)


TestAnything = Anything.TestCase
TestAnything.settings = settings(stateful_step_count=40)
