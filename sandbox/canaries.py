"""The made-up people in every order, each value recognisable, so that a leak can be searched for."""

FIRST_NAME = "Canaryfirst"
LAST_NAME = "Canarylast"
RECEIVER = "Canaryfirst Canarylast"
PHONE = "+15005550006"
EMAIL = "canary.patient@leak.example"
STREET = "7 Canary Street"
SECOND_LINE = "Canary apartment 3"
CITY = "Canaryville"
ZIP = "85001"
ACCESS_NOTES = "CANARY gate code 4711"
NOTES = "CANARY note: afraid of needles"
CLINICAL_NOTES = "CANARY clinical note"
SAMPLE_NOTES = "CANARY shipment note"
PHYSICIAN = "Canarydoctor"
GUARANTOR = "Canaryguarantor"
CLIENT_USER = "canary.client"
TRACKING_NUMBER = "CANARY-TRACK-1Z999"
DATE_OF_BIRTH = "1987-03-14"

# Must never be found outside the sandbox, whatever the settings. The date of birth is not in the list:
# settings may allow it.
ALL = (
    FIRST_NAME,
    LAST_NAME,
    PHONE,
    EMAIL,
    STREET,
    SECOND_LINE,
    CITY,
    ACCESS_NOTES,
    NOTES,
    CLINICAL_NOTES,
    SAMPLE_NOTES,
    PHYSICIAN,
    GUARANTOR,
    CLIENT_USER,
    TRACKING_NUMBER,
)
