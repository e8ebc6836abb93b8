import ArgumentParser
import Foundation
import LanternLocal
import NIOHTTP1

/// Which service a command speaks to, and as whom.
struct ServiceAccess: ParsableArguments {
    @Option(help: ArgumentHelp("Folder of the state of a platform that runs here.", valueName: "folder"))
    var state = ".lantern"
    @Option(help: ArgumentHelp("Address of the service, in place of one that runs here.", valueName: "url"))
    var url: String?
    @Option(help: "auth, order or activity, of the platform that runs here.")
    var service = MigrateCommand.ServiceName.activity

    /// Address and access token. The token is that of `LANTERN_TOKEN`, or of the development platform's own admin.
    func open() async throws -> (url: String, token: String) {
        let environment = ProcessInfo.processInfo.environment
        let state = LocalState.read(self.state).flatMap { $0.isAlive ? $0 : nil }
        let address: String
        if let url {
            address = url.hasSuffix("/") ? String(url.dropLast()) : url
        } else if let state {
            let port =
                switch self.service {
                case .auth: state.ports.auth
                case .order: state.ports.order
                case .activity: state.ports.activity
                }
            address = "http://127.0.0.1:\(port)"
        } else {
            throw Failure.misused("no platform runs from \(self.state): say --url, or start one with `lantern up`")
        }
        if let token = environment["LANTERN_TOKEN"], !token.isEmpty { return (address, token) }
        guard let state, self.url == nil else {
            throw Failure.misused("LANTERN_TOKEN is not set, expected an access token of an administrator")
        }
        let secrets: LocalSecrets
        do { secrets = try LocalSecrets.load(self.state) } catch { throw Failure.misused("\(error)") }
        let answer = try await HTTP.request(
            .POST, "http://127.0.0.1:\(state.ports.auth)/v1/sessions",
            json: ["email": secrets.adminEmail, "password": secrets.adminPassword]
        )
        guard answer.status == 201, let token = answer["access_token"] as? String else {
            throw Failure.wrong("the administrator could not log in: \(answer.problem)")
        }
        return (address, token)
    }
}

extension HTTP.Answer {
    /// What the service says is wrong.
    var problem: String {
        let detail = self["detail"] as? String
        return "\(self.status)\(detail.map { " \($0)" } ?? "")"
    }
}
