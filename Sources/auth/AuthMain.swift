import AuthService
import Lantern

@main
enum AuthMain {
    static func main() async { await Auth.main() }
}
