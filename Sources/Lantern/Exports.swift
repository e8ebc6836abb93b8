// A service imports `Lantern` and has what its code names.
@_exported public import Hummingbird
@_exported public import LanternEvents
@_exported public import LanternHTTP
@_exported public import LanternIdentity
@_exported public import LanternJSON
@_exported public import LanternKafka
@_exported public import LanternPostgres
@_exported public import Logging
@_exported public import ServiceLifecycle
@_exported public import Tracing
