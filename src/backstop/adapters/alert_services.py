"""Which services take alerts: the schemes of Apprise, without the half second that it loads.

Settings are judged before anything runs, by every command; the library itself is loaded only for a
scheme that is not in the table, for a newer one may know it.
"""

import re
import warnings
from difflib import get_close_matches

_SCHEMES = """
46elks amqp amqps apprise apprises aprs atalk azure bark barks betterstack blink1 bluesky brevo
bsky bulksms bulkvs burstsms chanify clickatell clicksend cliq cm d7sms dapnet dbus deltachat
deltachats dingtalk discord dot eight00com elks emby embys enigma2 enigma2s evolution evolutions
exotel fcm feishu firehydrant flock flowtriq flowtriqs fluxer fluxers form forms freemobile gchat
gio github glib gnome goalert goalerts gorush gorushs gotify gotifys groundmail groupme growl
guilded gupshup hassio hassios httpsms humhub humhubs ifttt ilert incidentio infobip irc ircs
jellyfin jellyfins jira join json jsons kakao kakaotalk kaleyra kavenegar kde klr kodi kodis kook
kudosity kumulos lametric lametrics lark lauther lfg line macosx mailersend mailgun mailto mailtos
mastodon mastodons matrix matrixs misskey misskeys mmost mmosts mobilemessage mobilemsg mqtt mqtts
msg91 msgbird ncloud nclouds nctalk nctalks nexmo nostr notica noticas notifiarr notifico
notificos notifyre ntfy ntfys o365 octopush onebot onebots onesignal opsgenie pagerduty pagertree
parsep parseps pbul pinglet pinglets pingram pjet pjets plivo postmark pover prowl psafer psafers
push pushdeer pushdeers pushed pushme pushplus pushward pushy qq qt reddit resend revolt ringc
rocket rockets rsyslog ryver schan sendgrid sendpulse serwersms ses session sessions seven sfr
signal signalgrid signals signl4 simplepush sinch slack smpp smpps smsc smseagle smseagles
smsmanager smsmgr smstunnel smtp2go sns sogs sparkpost spike splunk spugpush spush squadcast
stackfield strmlabs synology synologys syslog telesign telnyx tgram threema toot toots trigv
trigvs tweet twilio twist twitter vapid viber victorops voipms vonage webex wechat wecom wecombot
whapi whatsapp windows workflow workflows wpush wxpusher wxteams x xbmc xbmcs xmatters xml xmls
xmpp xmpps youlmk zalo zcliq zohocliq zoom zulip
"""

SERVICES = frozenset(_SCHEMES.split())
"""Those of Apprise 2.2, also where they need a library that is not installed."""

WEB_ADDRESSES = frozenset({"http", "https"})
"""Of some services Apprise takes the address that their own pages show."""

_SCHEME = re.compile(r"([A-Za-z0-9][A-Za-z0-9+.-]{0,31})://")


def scheme_of(url: str) -> str:
    """Return the scheme of an alert address in small letters; empty when it has none."""
    found = _SCHEME.match(url)
    return "" if found is None else found[1].lower()


def is_service(scheme: str) -> bool:
    """Say whether a service goes by ``scheme``, in small letters."""
    return scheme in SERVICES | WEB_ADDRESSES or _is_known_to_the_library(scheme)


def similar(scheme: str) -> str:
    """Return the service that was perhaps meant; empty when none comes to mind."""
    return next(iter(get_close_matches(scheme, SERVICES, n=1)), "")


def _is_known_to_the_library(scheme: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that its plug-ins try to load
        from apprise.manager_plugins import NotificationManager  # noqa: PLC0415 - 400 ms

        return scheme in NotificationManager()  # type: ignore[no-untyped-call]
