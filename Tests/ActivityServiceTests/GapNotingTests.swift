@testable import ActivityService
import Foundation
import Lantern
import TestSupport
import Testing

/// What is remembered of gaps, and told to the timeline; by the leading sealer only.
@Suite("Gaps are noted, healed and asked for", .serialized)
struct GapNotingTests {
    private func gap(_ stand: GapStand) async throws -> Gap { try #require(try await stand.store.gaps().first) }

    /// A source that lacks 3 and 4.
    private func stand() async throws -> GapStand {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 5])
        try await stand.heads(5)
        return stand
    }

    @Test("a gap is told once when it opens and once when it heals, and versions rise")
    func life() async throws {
        let stand = try await self.stand()
        #expect(try await self.gap(stand).change == .detected)
        try await stand.store.note(self.gap(stand), .detected, outbox: stand.outbox)
        let open = try await self.gap(stand)
        #expect(open.known == Gap.Known(version: 1, isOpen: true, requests: 0, unanswered: 0, sinceRequest: nil))
        #expect(open.change == nil && open.isRequestDue)

        try await stand.store.noteRequest(open, through: 3)
        try await stand.store.noteRequest(open, through: 4)
        let asked = try await self.gap(stand)
        #expect(asked.known?.requests == 2 && asked.known?.unanswered == 2)
        #expect(asked.known?.requestedThrough == 4)
        let since = try #require(asked.known?.sinceRequest)
        #expect(since >= .zero && since < .seconds(60))
        #expect(!asked.isRequestDue || since >= Gap.patience(after: 2))

        try await stand.hold([1, 2, 3, 4, 5])
        let filled = try await self.gap(stand)
        #expect(filled.events == 0 && filled.missing.isEmpty && filled.change == .healed && !filled.isRequestDue)
        try await stand.store.note(filled, .healed, outbox: stand.outbox)
        #expect(try await stand.store.gaps() == [])

        // It opens once more, as if nobody had ever asked.
        try await stand.heads(6)
        #expect(try await self.gap(stand).change == .detected)
        try await stand.store.note(self.gap(stand), .detected, outbox: stand.outbox)
        #expect(
            try await self.gap(stand).known
                == Gap.Known(version: 3, isOpen: true, requests: 0, unanswered: 0, sinceRequest: nil))

        let told = try await stand.told()
        #expect(
            told.map(\.type) == ["activity.gap.detected.v1", "activity.gap.healed.v1", "activity.gap.detected.v1"])
        #expect(told.map(\.version) == [1, 2, 3])
        #expect(
            told.first?.data == #"{"epoch":1,"events":2,"ranges":[[3,4]],"source":"/services/order","version":1}"#)
        #expect(told[1].data == #"{"epoch":1,"requests":2,"source":"/services/order","version":2}"#)
    }

    @Test("the epochs of a source are one aggregate on the timeline: their versions go on")
    func versionsOfEpochs() async throws {
        let stand = try await self.stand()
        try await stand.hold([2], epoch: 2)
        try await stand.heads(2, epoch: 2)
        try await stand.hold([2], source: "/services/auth")
        try await stand.heads(2, source: "/services/auth")
        for gap in try await stand.store.gaps() {
            try await stand.store.note(gap, .detected, outbox: stand.outbox)
        }
        let gaps = try await stand.store.gaps()
        #expect(
            gaps.map { "\($0.source) \($0.epoch)" } == ["/services/auth 1", "/services/order 1", "/services/order 2"])
        #expect(gaps.map { $0.known?.version } == [1, 1, 2])
    }

    @Test("a gap of very many ranges is told by its lowest ones, and by how many events it has")
    func manyRanges() async throws {
        let stand = try await GapStand.make()
        try await stand.hold((1...2_000).map { $0 * 2 })
        try await stand.heads(4_000)
        try await stand.store.note(self.gap(stand), .detected, outbox: stand.outbox)
        let data = try #require(try await stand.told().first?.data)
        let told = try #require(try JSONSerialization.jsonObject(with: Data(data.utf8)) as? [String: Any])
        #expect(told["events"] as? Int == 2_000)
        let ranges = try #require(told["ranges"] as? [[Int]])
        #expect(ranges == (0..<100).map { [$0 * 2 + 1, $0 * 2 + 1] })
    }

    @Test("a sealer whose term is over notes nothing, tells nothing and counts no request")
    func fenced() async throws {
        let stand = try await self.stand()
        let gap = try await self.gap(stand)
        try await stand.store.note(gap, .detected, outbox: stand.outbox)
        let before = try await self.gap(stand)
        _ = try await SealerStore.takeOver(stand.client)

        let detected = await #expect(throws: EventError.self) {
            try await stand.store.note(gap, .detected, outbox: stand.outbox)
        }
        #expect(detected?.code == .lostLeadership)
        let healed = await #expect(throws: EventError.self) {
            try await stand.store.note(gap, .healed, outbox: stand.outbox)
        }
        #expect(healed?.code == .lostLeadership)
        try await stand.store.noteRequest(gap, through: 4)
        #expect(try await self.gap(stand) == before)
        #expect(try await stand.told().count == 1)
        await #expect(throws: EventError.self) { try await stand.sealWaiting() }
    }

    @Test("what is noted and what is told commit together, or not at all")
    func together() async throws {
        let stand = try await self.stand()
        try await stand.client.query("ALTER TABLE outbox RENAME TO outbox_away")
        await #expect(throws: PostgresError.self) {
            try await stand.store.note(try await self.gap(stand), .detected, outbox: stand.outbox)
        }
        try await stand.client.query("ALTER TABLE outbox_away RENAME TO outbox")
        #expect(try await self.gap(stand).known == nil)
        #expect(try await stand.told().isEmpty)
    }

    @Test("asking can be paused, and is not paused by itself")
    func paused() async throws {
        let stand = try await GapStand.make()
        #expect(try await stand.store.isPaused == false)
        try await stand.client.query("UPDATE replay_switch SET paused = true")
        #expect(try await stand.store.isPaused)
    }
}

extension GapStand {
    /// As a leader would that has something to seal.
    fileprivate func sealWaiting() async throws {
        try await self.client.query(
            "INSERT INTO unsealed (kind, source, epoch, sequence) VALUES ('duplicate', \(Self.source), 1, 1)")
        _ = try await self.sealer.seal(limit: 10)
    }
}
