import Synchronization

/// What several tasks have noted, in the order in which they did.
final class NoteBook<Note: Sendable>: Sendable {
    private let notes = Mutex<[Note]>([])

    var all: [Note] { self.notes.withLock { $0 } }

    func note(_ note: Note) { self.notes.withLock { $0.append(note) } }
}
