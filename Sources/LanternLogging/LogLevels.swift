public import Logging
import Synchronization

/// The level of each logger, by its label; can be changed while they are in use, from any thread.
///
/// A label without a level of its own has the default. A handler whose `logLevel` was set keeps that one.
public final class LogLevels: Sendable {
    /// How many labels may have a level of their own: they come from outside.
    public static let limit = 1_000

    private struct State {
        var standard: Logger.Level
        var own: [String: Logger.Level] = [:]
        var cells: [String: Cell] = [:]
    }

    /// The level of one label. Handlers look at it for each line, so it is one atomic.
    final class Cell: Sendable {
        private let value: Atomic<Int>

        init(_ level: Logger.Level) { self.value = Atomic(level.index) }

        var level: Logger.Level {
            @inline(__always) get { Logger.Level(index: self.value.load(ordering: .relaxed)) }
            set { self.value.store(newValue.index, ordering: .relaxed) }
        }
    }

    private let state: Mutex<State>

    /// - Parameter levels: Levels of single labels.
    public init(_ standard: Logger.Level = .info, levels: [String: Logger.Level] = [:]) {
        self.state = Mutex(State(standard: standard, own: levels))
    }

    /// The level of labels that have none of their own.
    public var standard: Logger.Level {
        get { self.state.withLock { $0.standard } }
        set {
            self.state.withLock { state in
                state.standard = newValue
                for (label, cell) in state.cells where state.own[label] == nil { cell.level = newValue }
            }
        }
    }

    /// Levels of single labels.
    public var levels: [String: Logger.Level] { self.state.withLock { $0.own } }

    /// Labels that loggers were made with.
    public var labels: [String] { self.state.withLock { $0.cells.keys.sorted() } }

    /// The level that a label has now.
    public subscript(label: String) -> Logger.Level {
        self.state.withLock { $0.own[label] ?? $0.standard }
    }

    /// Gives a label its own level; `nil` takes it away. Answers `false` where there are too many already.
    @discardableResult
    public func set(_ level: Logger.Level?, for label: String) -> Bool {
        self.state.withLock { state in
            if level != nil, state.own[label] == nil, state.own.count >= Self.limit { return false }
            state.own[label] = level
            state.cells[label]?.level = level ?? state.standard
            return true
        }
    }

    /// Sets the default and all levels of single labels at once; labels that are not named have the default from now on.
    /// Answers `false`, and changes nothing, where there are more than ``limit``.
    @discardableResult
    public func replace(standard: Logger.Level, levels: [String: Logger.Level]) -> Bool {
        guard levels.count <= Self.limit else { return false }
        self.state.withLock { state in
            state.standard = standard
            state.own = levels
            for (label, cell) in state.cells { cell.level = levels[label] ?? standard }
        }
        return true
    }

    func cell(_ label: String) -> Cell {
        self.state.withLock { state in
            if let cell = state.cells[label] { return cell }
            let cell = Cell(state.own[label] ?? state.standard)
            // A program that makes labels of what users send has loggers that cannot be changed, not a full memory.
            if state.cells.count < Self.limit { state.cells[label] = cell }
            return cell
        }
    }
}

extension Logger.Level {
    fileprivate var index: Int {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .notice: 3
        case .warning: 4
        case .error: 5
        case .critical: 6
        }
    }

    fileprivate init(index: Int) {
        switch index {
        case 0: self = .trace
        case 1: self = .debug
        case 2: self = .info
        case 3: self = .notice
        case 4: self = .warning
        case 5: self = .error
        default: self = .critical
        }
    }
}
