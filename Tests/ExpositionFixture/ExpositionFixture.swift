import Foundation
import LanternMetrics

/// Records what a document on standard input lists, and writes the exposition to standard output: what
/// `Tests/Exposition` holds against parsers that are not ours.
@main
struct ExpositionFixture {
    static func main() async {
        do {
            let options = try FixtureOptions(ProcessInfo.processInfo.arguments.dropFirst())
            let document = try FixtureDocument(json: FileHandle.standardInput.readDataToEndOfFile())
            var configuration = MetricsConfiguration()
            configuration.allowsUTF8Names = options.allowsUTF8Names
            let registry = MetricsRegistry(configuration)
            try document.record(into: registry)
            let exposition = await registry.scrape(options.format)
            let body = try self.body(exposition, isGzip: options.isGzip)
            try FileHandle.standardOutput.write(contentsOf: body)
        } catch {
            // One line, whatever was in the document.
            let message = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
            FileHandle.standardError.write(Data("exposition-fixture: \(message)\n".utf8))
            exit(2)
        }
    }

    private static func body(_ exposition: Exposition, isGzip: Bool) throws -> Data {
        var body = Data()
        guard isGzip else {
            while let piece = exposition.next() { body.append(contentsOf: piece) }
            return body
        }
        guard let gzip = GzipStream() else { throw FixtureError("no memory for gzip") }
        while let piece = exposition.next() { body.append(contentsOf: gzip.compress(piece)) }
        body.append(contentsOf: gzip.compress(nil))
        return body
    }
}

/// What the command line asks for.
struct FixtureOptions {
    static let usage =
        "exposition-fixture text|openmetrics|protobuf [--gzip] [--utf8-names] "
        + "[--escaping allow-utf-8|underscores|dots|values]"

    var format: ExpositionFormat
    var isGzip = false
    var allowsUTF8Names = false

    init(_ arguments: some Sequence<String>) throws {
        var kind: ExpositionFormat.Kind?
        var escaping: ExpositionFormat.Escaping?
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "text": kind = .text
            case "openmetrics": kind = .openMetrics
            case "protobuf": kind = .protobuf
            case "--gzip": self.isGzip = true
            case "--utf8-names": self.allowsUTF8Names = true
            case "--escaping":
                guard let scheme = rest.popFirst().flatMap({ ExpositionFormat.Escaping(rawValue: $0) }) else {
                    throw FixtureError("--escaping names no scheme; usage: \(Self.usage)")
                }
                escaping = scheme
            default: throw FixtureError("\(argument) is not known; usage: \(Self.usage)")
            }
        }
        guard let kind else { throw FixtureError("no format; usage: \(Self.usage)") }
        self.format = ExpositionFormat(kind, escaping: escaping)
    }
}

/// Why there is no exposition, for a person to read.
struct FixtureError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
