public import Hummingbird
import Logging
import NIOCore
import Synchronization

/// What a handler knows of its request, beside the request itself.
public struct PlatformContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// Address of the peer, without port.
    public let peerAddress: String?
    /// Largest body in bytes.
    public var maxUploadSize: Int { 1 << 20 }

    /// Behind one reference: the context is copied again and again on its way.
    private final class Authentication: Sendable {
        let result: Result<Principal, Problem>

        init(_ result: Result<Principal, Problem>) { self.result = result }
    }

    private var authentication: Authentication?

    public init(source: ApplicationRequestContextSource) {
        self.coreContext = .init(source: source)
        self.peerAddress = source.channel.remoteAddress?.ipAddress
    }

    /// Template of the route, `/v1/orders/{id}`; `nil` where none matched, which Hummingbird names without a slash.
    var route: String? { self.endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil } }

    /// Who asks, if a valid token came with the request.
    public var principal: Principal? { try? self.authentication?.result.get() }

    mutating func authenticated(_ result: Result<Principal, Problem>) {
        self.authentication = Authentication(result)
    }

    /// Who asks.
    /// - Throws: ``Problem`` 401 where there is no token or it is not valid.
    public func requirePrincipal() throws -> Principal {
        guard let authentication else { throw Problem.unauthorized("This needs an access token.") }
        return try authentication.result.get()
    }

    /// Who asks, having at least one of these roles.
    /// - Throws: ``Problem`` 401, or 403 naming the roles.
    public func require(_ roles: Role...) throws -> Principal {
        let principal = try self.requirePrincipal()
        guard roles.contains(where: principal.roles.contains) else {
            throw Problem.forbidden("This needs the role \(roles.map(\.rawValue).joined(separator: " or ")).")
        }
        return principal
    }

    /// A path parameter that must be of a certain form; a resource whose id has another form cannot exist.
    /// - Throws: ``Problem`` 404.
    public func parameter<Value>(_ name: String, of what: String, _ parse: (String) -> Value?) throws -> Value {
        guard let text = self.parameters.get(name), let value = parse(text) else { throw Problem.notFound(what) }
        return value
    }
}

/// The roles of the platform.
public enum Role: String, Sendable, CaseIterable {
    case customer, vendor, admin, auditor
}

/// Who asks: a user or a client, as its token says.
public struct Principal: Sendable, Equatable {
    public var subject: String
    public var isClient: Bool
    public var roles: Set<Role>
    public var scopes: Set<String>
    public var sessionID: String?

    public init(subject: String, isClient: Bool, roles: Set<Role>, scopes: Set<String>, sessionID: String?) {
        self.subject = subject
        self.isClient = isClient
        self.roles = roles
        self.scopes = scopes
        self.sessionID = sessionID
    }

    public func has(_ role: Role) -> Bool { self.roles.contains(role) }
}
