import Foundation
import LanternTracing
import ServiceLifecycle
import Synchronization
import Tracing

/// The failure that the command line asks for.
struct LoadFailure: Error {}

/// Makes the spans, until all are made, the time is over, or the process is asked to end.
///
/// On threads of its own: the exporter has the others to itself, as it has beside an HTTP server's event loops.
final class SpanLoad: Service {
    private let options: FixtureOptions
    private let document: SpanDocument?
    private let processor: any SpanProcessor
    private let tracer: LanternTracer
    private let report: FixtureReport
    private let isEnding = Atomic(false)
    private let running: Atomic<Int>

    init(
        _ options: FixtureOptions, _ document: SpanDocument?, _ processor: any SpanProcessor, _ report: FixtureReport
    ) {
        self.options = options
        self.document = document
        self.processor = processor
        self.tracer = LanternTracer(sampler: .alwaysOn, processor: processor)
        self.report = report
        self.running = Atomic(options.threads)
    }

    func run() async throws {
        // By now SIGTERM is listened to: whoever reads the first line may send it.
        self.report.begin()
        await withGracefulShutdownHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                for number in 0..<self.options.threads {
                    let thread = Thread {
                        self.work(number)
                        if self.running.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
                            self.report.ending()
                            continuation.resume()
                        }
                    }
                    thread.start()
                }
            }
        } onGracefulShutdown: {
            self.report.ending()
            self.isEnding.store(true, ordering: .relaxed)
        }
        if self.options.fails { throw LoadFailure() }
    }

    private func work(_ number: Int) {
        let start = MonotonicTime.now
        let end = self.options.seconds.map { start + UInt64($0 * 1e9) }
        if let document {
            document.make(with: self.processor) { self.report.made($0, index: $1) }
        } else {
            withTracer(self.tracer) { self.makeShare(of: number, from: start, until: end) }
        }
        guard let end else { return }
        while !self.isOver(end) { self.pause() }
    }

    /// What one thread makes of the whole.
    private func makeShare(of number: Int, from start: UInt64, until end: UInt64?) {
        let threads = self.options.threads
        let share = self.options.count.map { $0 / threads + (number < $0 % threads ? 1 : 0) } ?? .max
        let pace = Double(self.options.rate) / Double(threads) / 1e9
        var made = 0
        while made < share, !self.isOver(end) {
            let due = pace == 0 ? .max : Int(Double(MonotonicTime.now - start) * pace)
            // A piece at a time, to look at the clock in between.
            for _ in 0..<min(100, due - made, share - made) {
                self.makeOne(number, made)
                made += 1
            }
            if made >= due { self.pause() }
        }
    }

    private func makeOne(_ thread: Int, _ sequence: Int) {
        let start = MonotonicTime.now
        withSpan("SELECT product", context: .topLevel, ofKind: .client) { span in
            span.attributes["db.system.name"] = "postgresql"
            span.attributes["db.query.summary"] = "SELECT product WHERE id"
            span.attributes["thread"] = thread
            span.attributes["sequence"] = sequence
            span.attributes["share"] = 0.5
        }
        self.report.made(inNanoseconds: MonotonicTime.now - start)
    }

    private func isOver(_ end: UInt64?) -> Bool {
        if self.isEnding.load(ordering: .relaxed) { return true }
        guard let end else { return false }
        return MonotonicTime.now >= end
    }

    private func pause() { usleep(500) }
}
