help bild
