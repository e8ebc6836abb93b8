@testable import ActivityService
import Lantern
import Testing

@Suite("A gap, and what is to be done about it")
struct GapTests {
    private static func known(
        isOpen: Bool, requests: Int = 0, since: Duration? = nil, through: Int64? = nil, version: Int64 = 1
    ) -> Gap.Known {
        Gap.Known(
            version: version, isOpen: isOpen, requests: requests, unanswered: requests, sinceRequest: since,
            requestedThrough: through)
    }

    /// So many events from number 1 on are missing.
    private static func gap(_ events: Int64, _ known: Gap.Known? = nil) -> Gap {
        Gap(
            source: "/services/order", epoch: 1, events: events,
            missing: SequenceRanges((0..<events).map { $0 + 1 }), known: known
        )
    }

    // MARK: - What the timeline is told

    @Test("a gap that nobody knew is news, and one that is there no more")
    func change() {
        #expect(Self.gap(2).change == .detected)
        #expect(Self.gap(2, Self.known(isOpen: false)).change == .detected, "one that opens again")
        #expect(Self.gap(0, Self.known(isOpen: true)).change == .healed)
    }

    @Test("what is known is no news, whatever was asked for meanwhile")
    func noChange() {
        #expect(Self.gap(0).change == nil)
        #expect(Self.gap(0, Self.known(isOpen: false)).change == nil)
        #expect(Self.gap(2, Self.known(isOpen: true)).change == nil)
        #expect(Self.gap(2, Self.known(isOpen: true, requests: 9, since: .seconds(9_999))).change == nil)
    }

    // MARK: - What is asked for

    @Test("what is missing is asked for at once, and when it opens again")
    func firstRequest() {
        #expect(Self.gap(1).isRequestDue)
        #expect(Self.gap(1, Self.known(isOpen: true)).isRequestDue)
        #expect(
            Self.gap(1, Self.known(isOpen: false, requests: 9, since: .zero)).isRequestDue,
            "what was asked for the last time is not what is missing now")
    }

    @Test("where nothing is missing nothing is asked for")
    func nothing() {
        for known in [
            nil, Self.known(isOpen: false), Self.known(isOpen: true),
            Self.known(isOpen: true, requests: 1, since: .seconds(9_999)),
        ] {
            #expect(!Self.gap(0, known).isRequestDue)
        }
    }

    @Test("it is asked for again when it can have come, and not before", arguments: [1, 2, 3, 8, 9, 1_000])
    func again(requests: Int) {
        let patience = Gap.patience(after: requests)
        func isDue(_ since: Duration) -> Bool {
            Self.gap(5, Self.known(isOpen: true, requests: requests, since: since)).isRequestDue
        }
        #expect(!isDue(.zero))
        #expect(!isDue(patience - .milliseconds(1)))
        #expect(isDue(patience))
        #expect(isDue(patience + .seconds(1)))
    }

    @Test("where all that was asked for has come, the rest is asked for at once")
    func answered() {
        var gap = Self.gap(5, Self.known(isOpen: true, requests: 9, since: .zero, through: 4))
        #expect(!gap.isRequestDue, "1 to 4 are still missing")
        gap.missing = SequenceRanges([4, 5])
        #expect(!gap.isRequestDue)
        gap.missing = SequenceRanges([5])
        #expect(gap.isRequestDue)
    }

    @Test(
        "patience grows with each request, up to five minutes",
        arguments: [
            (-1, 2), (0, 2), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 256), (9, 300), (10, 300),
            (11, 300), (100, 300), (Int.max, 300),
        ])
    func patience(requests: Int, seconds: Int) {
        #expect(Gap.patience(after: requests) == .seconds(seconds))
    }

    @Test("one request asks for the lowest numbers, and for no more than a source can send in a while")
    func request() {
        let gap = Self.gap(25_000)
        let asked = gap.missing.prefix(count: Gap.maximumRequest)
        #expect(asked.count == Gap.maximumRequest)
        #expect(asked == SequenceRanges((1...Gap.maximumRequest).map { $0 }))
        // And what it asks for is a message that a source takes.
        let message = ControlMessage.replayRequested(source: gap.source, epoch: 1, missing: asked)
        #expect(asked.ranges.count <= SequenceRanges.maximumRanges)
        #expect((try? message.record()).flatMap { ControlMessage($0) } == message)
    }

    @Test(
        "the service of a source is the last part of its path",
        arguments: [
            ("/services/order", "order"), ("/prod/services/order", "order"), ("order", "order"), ("/", "/"),
            ("urn:example:till", "urn:example:till"),
        ])
    func service(source: String, service: String) {
        #expect(Gap.service(of: source) == service)
    }

    @Test("what is told of a gap is about its source, and says that something failed")
    func events() {
        let detected = GapDetected(source: "/services/order", epoch: 2, events: 3, ranges: [[1, 3]], version: 7)
        #expect(detected.subject == EventSubject("source", "order", version: 7))
        #expect(detected.outcome == .failure)
        let healed = GapHealed(source: "/services/order", epoch: 2, requests: 1, version: 8)
        #expect(healed.subject == EventSubject("source", "order", version: 8))
        #expect(healed.outcome == .success)
    }
}
