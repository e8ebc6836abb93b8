import Dispatch
import Foundation
import Synchronization
import Testing
import Tracing

@testable import LanternTracing

struct PaymentRefused: Error, CustomStringConvertible {
    var description: String { "card 4242 of ada@example.org" }
}

/// Looks at each span while it ends, as one that writes it out at once does.
private final class EagerProcessor: SpanProcessor {
    private let kept = Mutex<[SpanAttributes]>([])

    var seen: [SpanAttributes] { self.kept.withLock { $0 } }

    func process(_ span: FinishedSpan) { self.kept.withLock { $0.append(span.attributes) } }
}

/// Runs a body on threads of their own, all at once, and returns when all have ended.
private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for number in 0..<count {
        group.enter()
        Thread.detachNewThread {
            body(number)
            group.leave()
        }
    }
    group.wait()
}

/// Changes attributes in place and does something else meanwhile, as another thread may.
private func change(_ attributes: inout SpanAttributes, _ body: (inout SpanAttributes) -> Void) { body(&attributes) }

private func keys(_ attributes: SpanAttributes) -> Set<String> {
    var keys: Set<String> = []
    attributes.forEach { key, _ in keys.insert(key) }
    return keys
}

@Suite("Attributes of a span")
struct SpanAttributeTests {
    private let processor = InMemorySpanProcessor()

    private func span(limit: Int = 128) -> LanternSpan {
        var limits = SpanLimits()
        limits.attributes = limit
        return LanternTracer(sampler: .alwaysOn, processor: self.processor, limits: limits)
            .startSpan("work", context: .topLevel)
    }

    private func finished() throws -> FinishedSpan { try #require(self.processor.spans.last) }

    // MARK: One after another

    @Test("updateAttributes sets, changes and removes several at once")
    func update() throws {
        let span = self.span()
        span.attributes["gone"] = true
        span.attributes["changed"] = 1
        span.updateAttributes { attributes in
            #expect(keys(attributes) == ["gone", "changed"])
            attributes["gone"] = nil
            attributes["changed"] = 2
            attributes["new"] = "text"
        }
        #expect(span.attributes == ["changed": 2, "new": "text"])
        span.end()
        #expect(try self.finished().attributes == ["changed": 2, "new": "text"])
    }

    @Test("what is set after the end is ignored, by whatever way")
    func afterEnd() throws {
        let span = self.span()
        span.attributes["early"] = 1
        span.end()
        span.attributes["early"] = 2
        span.attributes["late"] = 2
        span.attributes = ["late": 2]
        span.updateAttributes { $0["late"] = 2 }
        #expect(span.attributes == ["early": 1])
        #expect(try self.finished().attributes == ["early": 1])
        #expect(try self.finished().droppedAttributes == 0)
    }

    @Test("a span that ended without attributes stays without")
    func afterEndOfNone() throws {
        let span = self.span()
        span.end()
        span.attributes["late"] = 1
        #expect(span.attributes.isEmpty)
        #expect(try self.finished().attributes.isEmpty)
    }

    @Test("beyond the limit the first ones are kept, and the rest is counted")
    func limit() throws {
        let span = self.span(limit: 3)
        for number in 0..<8 { span.attributes["key \(number)"] = number }
        span.end()
        #expect(try self.finished().attributes == ["key 0": 0, "key 1": 1, "key 2": 2])
        #expect(try self.finished().droppedAttributes == 5)
    }

    @Test("beyond the limit updateAttributes keeps what was there, and counts what is too much")
    func updateBeyondLimit() throws {
        let span = self.span(limit: 3)
        span.attributes["first"] = 1
        span.updateAttributes { attributes in
            for number in 0..<10 { attributes["key \(number)"] = number }
            attributes["first"] = 2
        }
        span.end()
        #expect(try self.finished().attributes.count == 3)
        #expect(try self.finished().attributes.get("first") == 2)
        #expect(try self.finished().droppedAttributes == 8)
    }

    @Test("at the limit one that is there can be changed, and removed to make room")
    func atLimit() throws {
        let span = self.span(limit: 2)
        span.attributes["a"] = 1
        span.attributes["b"] = 1
        span.attributes["a"] = 2
        #expect(span.attributes == ["a": 2, "b": 1])
        span.attributes["b"] = nil
        span.attributes["c"] = 3
        span.end()
        #expect(try self.finished().attributes == ["a": 2, "c": 3])
        #expect(try self.finished().droppedAttributes == 0)
    }

    // MARK: At once

    @Test("eight threads that set attributes while others read them lose none")
    func threads() throws {
        for _ in 0..<50 {
            let span = self.span()
            let working = Atomic(8)
            onThreads(10) { thread in
                guard thread < 8 else {
                    while working.load(ordering: .acquiring) > 0 { _ = span.attributes.get("0.0") }
                    return
                }
                for number in 0..<16 { span.attributes["\(thread).\(number)"] = number }
                working.subtract(1, ordering: .releasing)
            }
            span.end()
            let expected = Set((0..<8).flatMap { thread in (0..<16).map { "\(thread).\($0)" } })
            #expect(try expected.subtracting(keys(self.finished().attributes)).isEmpty)
        }
    }

    @Test("what eight threads had set before another ended the span is in it")
    func threadsAndEnd() throws {
        for _ in 0..<100 {
            let span = self.span()
            let done = Mutex<Set<String>>([])
            let before = Mutex<Set<String>>([])
            onThreads(9) { thread in
                guard thread < 8 else {
                    while done.withLock({ $0.count }) < 40 { sched_yield() }
                    before.withLock { $0 = done.withLock { $0 } }
                    span.end()
                    return
                }
                for number in 0..<10 {
                    span.attributes["\(thread).\(number)"] = number
                    done.withLock { _ = $0.insert("\(thread).\(number)") }
                }
            }
            #expect(try before.withLock { $0 }.subtracting(keys(self.finished().attributes)).isEmpty)
        }
    }

    @Test("attributes that are set while others are being set are kept too")
    func meanwhile() throws {
        let span = self.span()
        span.attributes["early"] = 1
        change(&span.attributes) { attributes in
            attributes["outer"] = 2
            span.attributes["inner"] = 3
            span.updateAttributes { $0["updated"] = 4 }
        }
        span.end()
        #expect(try self.finished().attributes == ["early": 1, "outer": 2, "inner": 3, "updated": 4])
    }

    @Test("at the limit too, a change is not undone by another one that was begun before")
    func meanwhileAtLimit() throws {
        let span = self.span(limit: 2)
        span.attributes = ["outer": 0, "inner": 0]
        change(&span.attributes) { attributes in
            attributes["outer"] = 1
            span.attributes["inner"] = 1
        }
        span.end()
        #expect(try self.finished().attributes == ["outer": 1, "inner": 1])
    }

    @Test("attributes that fill a span while others are being set are kept, or counted")
    func meanwhileBeyondLimit() throws {
        let span = self.span(limit: 2)
        change(&span.attributes) { attributes in
            attributes["outer"] = 1
            span.attributes["inner"] = 2
            span.attributes["third"] = 3
        }
        span.end()
        let finished = try self.finished()
        #expect(finished.attributes.count == 2)
        #expect(finished.droppedAttributes == 1)
    }

    @Test("a span that ends while attributes are being set shows its processor all that was set before")
    func endMeanwhile() throws {
        let processor = EagerProcessor()
        let span = LanternTracer(sampler: .alwaysOn, processor: processor).startSpan("work", context: .topLevel)
        span.attributes["early"] = 1
        change(&span.attributes) { attributes in
            attributes["outer"] = 2
            span.end()
        }
        #expect(processor.seen.map { $0.get("early") } == [1])
    }

    @Test("a span that ends while two threads set attributes keeps all that was set before")
    func endWhileTwoSet() throws {
        let span = self.span()
        span.attributes["early"] = 1
        change(&span.attributes) { attributes in
            attributes["outer"] = 2
            span.attributes["inner"] = 3
            span.end()
        }
        #expect(try self.finished().attributes.get("early") == 1)
        #expect(try self.finished().attributes.get("inner") == 3)
    }

    // MARK: Status and errors

    @Test(
        "the last status counts, but nothing overrules ok",
        arguments: [
            ([], nil), ([.error], .error), ([.ok], .ok), ([.error, .ok], .ok), ([.ok, .error], .ok),
            ([.error, .ok, .error], .ok),
        ] as [([SpanStatus.Code], SpanStatus.Code?)]
    )
    func status(codes: [SpanStatus.Code], expected: SpanStatus.Code?) throws {
        let span = self.span()
        for code in codes { span.setStatus(SpanStatus(code: code)) }
        span.end()
        #expect(try self.finished().status?.code == expected)
    }

    @Test("of two errors the words of the last are kept, and recordError does not take them away")
    func statusMessage() throws {
        let span = self.span()
        span.setStatus(SpanStatus(code: .error, message: "first"))
        span.setStatus(SpanStatus(code: .error, message: "second"))
        span.recordError(PaymentRefused())
        span.end()
        #expect(try self.finished().status == SpanStatus(code: .error, message: "second"))
    }

    @Test("of an error its type is kept, when it was said to be, and nothing that it says")
    func recordError() throws {
        let span = self.span()
        let time = DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 1_000)
        span.recordError(PaymentRefused(), attributes: [:], at: time)
        span.end()
        let event = try #require(self.finished().events.first)
        #expect(event.nanosecondsSinceEpoch == 1_000)
        #expect(event.attributes == ["exception.type": "LanternTracingTests.PaymentRefused"])
        #expect(try self.finished().status == SpanStatus(code: .error))
    }
}
