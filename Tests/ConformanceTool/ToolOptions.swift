import LanternKafka
import TransportConformance

/// What the tool is told: `conformance host:port`, and properties of librdkafka in the environment.
struct ToolOptions {
    let configuration: KafkaConfiguration
    /// What the properties rule out.
    let exceptions: [ConformanceCheck.Assumption: String]

    static let usage = """
        usage: conformance HOST:PORT[,HOST:PORT…]
        The brokers may be in KAFKA or KAFKA_BOOTSTRAP_SERVERS too. Any other KAFKA_<PROPERTY> is a property of \
        librdkafka: KAFKA_SECURITY_PROTOCOL is security.protocol.
        """

    /// - Throws: ``Misuse``.
    init(arguments: [String], environment: [String: String]) throws(Misuse) {
        guard arguments.count <= 1, arguments.first?.hasPrefix("-") != true else { throw Misuse(Self.usage) }
        let named = [arguments.first, environment["KAFKA"], environment["KAFKA_BOOTSTRAP_SERVERS"]]
        guard let servers = named.compactMap({ $0 }).first(where: { !$0.isEmpty }) else {
            throw Misuse("no broker is named\n\(Self.usage)")
        }
        // The shortest session that brokers take as they come, so that members are soon heard of.
        var properties = ["session.timeout.ms": "6000"]
        for (name, value) in environment
        where name.hasPrefix("KAFKA_") && name != "KAFKA_BOOTSTRAP_SERVERS" && !value.isEmpty {
            let property = name.dropFirst("KAFKA_".count).lowercased().split(separator: "_").joined(separator: ".")
            properties[property] = value
        }
        let configuration = KafkaConfiguration(
            bootstrapServers: servers, properties: properties, clientID: "lantern-conformance")
        if let property = configuration.invalidProperty {
            let name = "KAFKA_\(property.uppercased().split(separator: ".").joined(separator: "_"))"
            throw Misuse("\(name): librdkafka does not take this property, or not this value")
        }
        self.configuration = configuration
        self.exceptions = Self.exceptions(properties)
    }

    private static func exceptions(_ properties: [String: String]) -> [ConformanceCheck.Assumption: String] {
        var exceptions: [ConformanceCheck.Assumption: String] = [:]
        if let reset = properties["auto.offset.reset"], !["earliest", "smallest", "beginning"].contains(reset) {
            exceptions[.resetsToEarliest] = "auto.offset.reset is \(reset)"
        }
        if let strategy = properties["partition.assignment.strategy"], !strategy.contains("cooperative") {
            exceptions[.movesOnlyWhatMustMove] = "partition.assignment.strategy is \(strategy)"
        }
        return exceptions
    }
}

/// Why the tool could not begin.
struct Misuse: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}
