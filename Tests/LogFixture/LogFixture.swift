import Glibc
import LanternLogging
import Logging

/// Logs a storm of lines to standard output and ends as it is told: what `Tests/Logs` kills, stalls and reads.
@main
struct LogFixture {
    static func main() {
        do {
            let options = try FixtureOptions(CommandLine.arguments.dropFirst())
            FileDescriptorSink.surviveSignals()
            let sink = try FileDescriptorSink(overflow: options.overflow)
            let storm = Storm(options, sink, try options.ledger.map { try Ledger(path: $0, threads: options.threads) })
            storm.run()
            // The sink must be there still when the process ends: going away, it would write what it has.
            withExtendedLifetime(sink) { options.end.happen() }
        } catch {
            _ = "log-fixture: \(error)\n".withCString { write(STDERR_FILENO, $0, strlen($0)) }
            exit(2)
        }
    }
}

/// How the process ends once all is logged.
enum End: String, CaseIterable {
    case `return`, exit, trap, abort, sigterm, wait

    func happen() {
        switch self {
        case .return: return
        case .exit: Glibc.exit(0)
        case .trap:
            // The index comes from outside, so that the compiler cannot know it.
            let numbers: [Int32] = [1, 2, 3]
            Glibc.exit(numbers[CommandLine.arguments.count + 1_000])
        case .abort: Glibc.abort()
        case .sigterm: raise(SIGTERM)
        case .wait: while true { pause() }
        }
    }
}

/// What the command line asks for.
struct FixtureOptions: Sendable {
    static let usage =
        "log-fixture storm --threads N --lines M --end return|exit|trap|abort|sigterm|wait [--format json|pretty] "
        + "[--overflow drop|block] [--ledger PATH] [--hostile]"

    var threads = 1
    /// Of each thread.
    var lines = 1
    var end = End.return
    var format = LogOutput.Format.json
    var overflow = FileDescriptorSink.Overflow.drop
    var ledger: String?
    var isHostile = false

    init(_ arguments: some Sequence<String>) throws {
        var rest = Array(arguments)[...]
        guard rest.popFirst() == "storm" else { throw FixtureError("no storm; usage: \(Self.usage)") }
        func value<Value>(_ name: String, _ read: (String) -> Value?) throws -> Value {
            guard let value = rest.popFirst().flatMap(read) else {
                throw FixtureError("\(name) has no value that is known; usage: \(Self.usage)")
            }
            return value
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--threads": self.threads = try value(argument) { Int($0).flatMap { 1...64 ~= $0 ? $0 : nil } }
            case "--lines": self.lines = try value(argument) { Int($0).flatMap { $0 >= 0 ? $0 : nil } }
            case "--end": self.end = try value(argument) { End(rawValue: $0) }
            case "--format": self.format = try value(argument) { LogOutput.Format(rawValue: $0) }
            case "--overflow": self.overflow = try value(argument) { FileDescriptorSink.Overflow(rawValue: $0) }
            case "--ledger": self.ledger = try value(argument) { $0 }
            case "--hostile": self.isHostile = true
            default: throw FixtureError("\(argument) is not known; usage: \(Self.usage)")
            }
        }
    }
}

/// Why there is no storm, for a person to read.
struct FixtureError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Several threads that log as fast as they can.
final class Storm: Sendable {
    private let options: FixtureOptions
    private let logger: Logger
    private let ledger: Ledger?

    init(_ options: FixtureOptions, _ sink: FileDescriptorSink, _ ledger: Ledger?) {
        self.options = options
        self.ledger = ledger
        let output = LogOutput(service: "fixture", format: options.format, sink: sink)
        self.logger = Logger(label: "storm") { LanternLogHandler(label: $0, output: output) }
    }

    /// Returns when all threads are done.
    func run() {
        var threads: [pthread_t] = []
        for number in 0..<self.options.threads {
            var thread = pthread_t()
            let work = Unmanaged.passRetained(Work(storm: self, number: number))
            let error = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    let work = Unmanaged<Work>.fromOpaque(context).takeRetainedValue()
                    work.storm.log(from: work.number)
                    return nil
                }, work.toOpaque())
            precondition(error == 0, "no thread: \(error)")
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
    }

    /// What a thread is given.
    private final class Work {
        let storm: Storm
        let number: Int

        init(storm: Storm, number: Int) {
            self.storm = storm
            self.number = number
        }
    }

    private func log(from thread: Int) {
        for sequence in 0..<self.options.lines {
            var message = "line"
            var metadata: Logger.Metadata = [
                "sequence": .stringConvertible(sequence), "thread": .stringConvertible(thread),
            ]
            if self.options.isHostile {
                message = Hostile.text(sequence)
                metadata.merge(Hostile.metadata(sequence)) { own, _ in own }
            }
            self.logger.info("\(message)", metadata: metadata)
            self.ledger?.add(thread, sequence)
        }
    }
}

/// Text and metadata that have broken the lines of other handlers.
enum Hostile {
    private static let texts: [String] = [
        "a\nb\r\nc\rd", "x\"}\n{\"level\":\"critical\",\"thread\":0,\"sequence\":0}", "x\",\"level\":\"critical",
        "\"\\\"\\\\u0041/", String((UInt8(0)..<0x20).map { Character(Unicode.Scalar($0)) }),
        String((UInt8(0x7F)..<0xA0).map { Character(Unicode.Scalar($0)) }), "a\u{2028}b\u{2029}c\u{85}d",
        "\u{1B}[2J\u{1B}]0;title\u{07}", "👩‍🚀\u{FFFF}\u{10FFFF}\u{202E}e\u{301}", "", " ",
        String(repeating: "\u{1}", count: 20_000), String(repeating: "😀", count: 20_000),
    ]

    static func text(_ number: Int) -> String { self.texts[number % self.texts.count] }

    /// A few members, none of which keeps the others from the line.
    static func metadata(_ number: Int) -> Logger.Metadata {
        var nested: Logger.MetadataValue = .string(self.text(number + 3))
        for depth in 0..<number % 20 {
            nested = depth.isMultiple(of: 2) ? [nested, .stringConvertible(depth)] : [self.text(depth): nested]
        }
        return [
            "level": "critical", "list": [.string(self.text(number + 1)), .stringConvertible(Double.nan)],
            "nested": nested, "key " + self.text(number + 2): .stringConvertible(Double(number) / 3),
        ]
    }
}

/// What each thread has logged, in a mapped file, which outlives the process however it ends: for each thread the number
/// of calls that returned, then the monotonic nanoseconds at which the latest ``kept`` of them did, the call `n` at
/// `n % kept`. All are 64 bits in the machine's order.
///
/// `@unchecked`: each thread writes its own part only.
final class Ledger: @unchecked Sendable {
    static let kept = 1_024

    private let words: UnsafeMutablePointer<UInt64>

    init(path: String, threads: Int) throws {
        let size = threads * (1 + Self.kept) * MemoryLayout<UInt64>.size
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0, ftruncate(descriptor, size) == 0,
            let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), mapped != MAP_FAILED
        else { throw FixtureError("no ledger at \(path): \(String(cString: strerror(errno)))") }
        close(descriptor)
        self.words = mapped.bindMemory(to: UInt64.self, capacity: threads * (1 + Self.kept))
    }

    func add(_ thread: Int, _ sequence: Int) {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let part = self.words + thread * (1 + Self.kept)
        part[1 + sequence % Self.kept] = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        part[0] = UInt64(sequence + 1)
    }
}
